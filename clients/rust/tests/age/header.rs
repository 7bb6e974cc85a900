//! Headers: what is written is read again, and what is not as it should be is refused.

use std::io::Cursor;

use keyward_client::age::{Header, HeaderError, MAX_HEADER, MAX_STANZAS, Stanza};
use proptest::prelude::*;

use crate::{encrypted, file_key, header_error, stanza};

proptest! {
    #[test]
    fn a_header_is_read_as_it_was_written(
        stanzas in prop::collection::vec(
            (prop::collection::vec("[!-~]{1,20}", 1..4), prop::collection::vec(any::<u8>(), 0..200)),
            1..8,
        ),
        rest in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let stanzas: Vec<Stanza> = stanzas
            .into_iter()
            .map(|(arguments, body)| Stanza { arguments, body })
            .collect();
        let written = Header::new(&file_key(), stanzas.clone()).unwrap();
        let mut bytes = written.to_bytes();
        let length = bytes.len() as u64;
        bytes.extend(rest);
        let mut input = Cursor::new(bytes);
        let read = Header::read(&mut input).unwrap();
        prop_assert_eq!(read.stanzas(), &stanzas);
        prop_assert_eq!(input.position(), length);
        prop_assert_eq!(&read, &written);
        read.verify(&file_key()).unwrap();
    }

    #[test]
    fn no_flipped_bit_of_a_header_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = Header::new(&file_key(), vec![stanza(), stanza()]).unwrap().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(header) = Header::read(&mut &*bytes) {
            prop_assert!(matches!(header.verify(&file_key()), Err(HeaderError::Changed)));
        }
    }
}

#[test]
fn what_is_no_age_file_is_called_by_its_name() {
    let noise = [b'x'; 100_000];
    for input in [&b""[..], b"hello", b"hello\n", b"age-encryption", &noise] {
        assert!(matches!(header_error(input), HeaderError::NotAge));
    }
    let armored = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n";
    assert!(matches!(header_error(armored), HeaderError::Armored));
    let later = header_error(b"age-encryption.org/v2\nanything");
    assert!(matches!(later, HeaderError::Version(version) if version == "v2"));
}

#[test]
fn a_header_that_ends_too_early_is_refused_wherever_it_ends() {
    let file = encrypted(b"");
    let start = crate::payload_start(&file);
    for end in 22..start {
        assert!(matches!(header_error(&file[..end]), HeaderError::Truncated));
    }
}

#[test]
fn headers_above_the_limits_are_neither_written_nor_read() {
    let many = |count| vec![stanza(); count];
    let most = Header::new(&file_key(), many(MAX_STANZAS)).unwrap();
    Header::read(&mut &*most.to_bytes()).unwrap();
    let error = Header::new(&file_key(), many(MAX_STANZAS + 1)).unwrap_err();
    assert!(matches!(error, HeaderError::TooLarge { .. }));
    let large = Stanza {
        body: vec![0; MAX_HEADER],
        ..stanza()
    };
    let error = Header::new(&file_key(), vec![large]).unwrap_err();
    assert!(matches!(error, HeaderError::TooLarge { .. }));

    let mut endless = b"age-encryption.org/v1\n".to_vec();
    for _ in 0..=MAX_STANZAS {
        endless.extend_from_slice(b"-> x\n\n");
    }
    assert!(matches!(
        header_error(&endless),
        HeaderError::TooLarge {
            limit: MAX_STANZAS,
            ..
        }
    ));
    let mut endless = b"age-encryption.org/v1\n-> x\n".to_vec();
    endless.extend([[b'A'; 64].as_slice(), b"\n"].concat().repeat(2000));
    assert!(matches!(
        header_error(&endless),
        HeaderError::TooLarge {
            limit: MAX_HEADER,
            ..
        }
    ));
}

#[test]
fn a_header_without_stanzas_or_with_bad_arguments_is_refused() {
    Header::new(&file_key(), vec![]).unwrap_err();
    for arguments in [vec![], vec![""], vec!["a b"], vec!["a\n"], vec!["é"]] {
        let arguments = arguments.into_iter().map(String::from).collect();
        let stanza = Stanza {
            arguments,
            body: vec![],
        };
        Header::new(&file_key(), vec![stanza]).unwrap_err();
    }
    let mac = "A".repeat(43);
    let none = format!("age-encryption.org/v1\n--- {mac}\n");
    assert!(matches!(
        header_error(none.as_bytes()),
        HeaderError::Malformed { line: 2, .. }
    ));
}
