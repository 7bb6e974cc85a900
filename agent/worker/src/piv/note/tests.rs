#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn note() -> Note {
    let key = CoseKey::Ed25519 { x: [3; 32] };
    Note {
        id: VersionId::random(),
        label: "mail.1".to_owned(),
        spki: digest(&key).unwrap(),
        purpose: Purpose::Sign,
        origin: Origin::Generated,
        public: None,
        policies: None,
    }
}

#[test]
fn a_note_is_read_as_it_was_written() {
    let with_more = Note {
        public: Some(CoseKey::Ed25519 { x: [3; 32] }),
        policies: Some((2, 3)),
        ..note()
    };
    for note in [note(), with_more] {
        assert_eq!(Note::parse(&note.to_object()), Ok(note));
    }
}

#[test]
fn a_note_is_about_one_key() {
    assert!(note().is_about(&CoseKey::Ed25519 { x: [3; 32] }));
    assert!(!note().is_about(&CoseKey::Ed25519 { x: [4; 32] }));
}

#[test]
fn a_note_that_is_cut_changed_or_newer_is_none() {
    let object = note().to_object();
    for end in 0..object.len() {
        assert!(Note::parse(&object[..end]).is_err(), "{end}");
    }
    let longer = [object.as_slice(), &[0]].concat();
    assert_eq!(Note::parse(&longer), Err(NoteError::Damaged));
    let mut newer = object;
    newer[0] = 2;
    assert_eq!(Note::parse(&newer), Err(NoteError::Form(2)));
}
