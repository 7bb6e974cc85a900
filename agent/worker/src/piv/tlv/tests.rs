#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn a_data_object_has_tag_length_and_value() {
    for (bytes, tag, length) in [
        (b"\x53\x00".as_slice(), 0x53, 0),
        (b"\x5c\x01\x7e", 0x5c, 1),
        (b"\x7f\x49\x02\x86\x00", 0x7f49, 2),
        (b"\x5f\xc1\x02\x01\xaa", 0x5f_c102, 1),
        // Longer than needed, as some cards write it.
        (b"\x53\x81\x01\xaa", 0x53, 1),
        (b"\x53\x82\x00\x01\xaa", 0x53, 1),
        (b"\x53\x83\x00\x00\x01\xaa", 0x53, 1),
    ] {
        let (one, rest) = first(bytes).unwrap();
        assert_eq!((one.tag, one.value.len(), rest.len()), (tag, length, 0));
    }
}

#[test]
fn what_is_cut_or_of_no_known_form_is_refused() {
    for (bytes, error) in [
        (b"".as_slice(), TlvError::Cut),
        (b"\x53", TlvError::Cut),
        (b"\x7f", TlvError::Cut),
        (b"\x53\x01", TlvError::Cut),
        (b"\x53\x82\x01", TlvError::Cut),
        (b"\x53\x81\x80\x00", TlvError::Cut),
        (b"\x5f\xc1\x82\x03\x00", TlvError::Tag),
        (b"\x53\x80\x00\x00", TlvError::Length),
        (b"\x53\x84\x00\x00\x00\x00", TlvError::Length),
        (b"\x53\x83\xff\xff\xff", TlvError::Length),
    ] {
        assert_eq!(
            first(bytes).map(|(one, _)| one.tag),
            Err(error),
            "{bytes:x?}"
        );
    }
}

#[test]
fn an_object_that_must_be_alone_is() {
    assert_eq!(only(b"\x53\x01\xaa", 0x53), Ok(b"\xaa".as_slice()));
    let others = [
        b"\x53\x01\xaa\x00".as_slice(),
        b"\x54\x01\xaa",
        b"\x53\x01\xaa\x53\x00",
    ];
    for bytes in others {
        assert!(only(bytes, 0x53).is_err());
    }
}

#[test]
fn an_object_that_is_there_twice_is_refused() {
    let twice = b"\x01\x00\x02\x00\x01\x00";
    assert_eq!(find(twice, 0x01), Err(TlvError::Twice(1)));
    assert_eq!(find(twice, 0x02), Ok(Some(b"".as_slice())));
    assert_eq!(find(twice, 0x03), Ok(None));
    assert_eq!(get(twice, 0x03), Err(TlvError::Other(3)));
}

#[test]
fn a_value_is_not_shown() {
    let (one, _) = first(b"\x89\x02\x12\x34").unwrap();
    assert_eq!(format!("{one:?}"), "Tlv(89, 2 bytes)");
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        objects in vec((prop_oneof![Just(0x53u32), Just(0x7f49), Just(0x5f_c10a)], vec(any::<u8>(), 0..400)), 0..4)
    ) {
        let mut bytes = Vec::new();
        for (tag, value) in &objects {
            put(*tag, value, &mut bytes);
        }
        let read: Vec<_> = list(&bytes).unwrap().iter().map(|one| (one.tag, one.value.to_vec())).collect();
        prop_assert_eq!(read, objects);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok((one, rest)) = first(&bytes) {
            prop_assert!(one.value.len() + rest.len() < bytes.len());
        }
        let _ = list(&bytes);
    }
}
