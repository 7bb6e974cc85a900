//! What holds for any bytes.

use proptest::prelude::*;

use super::super::apdu::Command;
use super::*;
use crate::Touch;
use std::time::Duration;

/// No byte of a PIN that these cards have is among these.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0xff), 0x00_u8..0x30, 0x7c_u8..0xb0]
}

/// Commands that look like those of PIV. They make no keys of RSA, which take their time.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let instruction = prop::sample::select(vec![
        0x20, 0x24, 0x2c, 0x87, 0xa4, 0xc0, 0xcb, 0xdb, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfd,
        0xfe, 0xff,
    ]);
    let p1 = prop::sample::select(vec![0, 0x04, 0x11, 0x3f, 0x9a, 0xff]);
    let p2 = prop::sample::select(vec![0, 0x80, 0x81, 0x9a, 0x9b, 0xff]);
    let class = prop::sample::select(vec![0x00, 0x00, 0x00, 0x10]);
    let piv = vec![0xa0, 0x00, 0x00, 0x03, 0x08];
    let data = prop_oneof![
        Just(vec![]),
        Just(piv),
        prop::collection::vec(byte(), 8),
        prop::collection::vec(byte(), 16),
        prop::collection::vec(byte(), 0..60),
    ];
    (class, instruction, p1, p2, data).prop_map(|(class, instruction, p1, p2, data)| {
        let mut command = vec![class, instruction, p1, p2];
        if !data.is_empty() {
            command.push(u8::try_from(data.len()).unwrap());
            command.extend(data);
        }
        command
    })
}

proptest! {
    #[test]
    fn an_object_that_was_made_is_taken_apart_again(
        tag in prop::sample::select(vec![0x53_u32, 0x7c, 0x81, 0x7f49, 0x5f2f, 0x5f_8101]),
        value in prop::collection::vec(any::<u8>(), 0..700),
        behind in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let made = object(tag, &value);
        prop_assert_eq!(tlv::only(&made, tag), Some(&value[..]));
        let next = [made, object(0x82, &behind)].concat();
        let objects = tlv::parse(&next).unwrap();
        prop_assert_eq!(objects.len(), 2);
        prop_assert_eq!(tlv::find(&objects, tag), Some(&value[..]));
        prop_assert_eq!(tlv::only(&next, tag), None);
    }

    #[test]
    fn what_an_object_loses_at_its_end_is_missed(
        value in prop::collection::vec(any::<u8>(), 1..300),
        cut in any::<prop::sample::Index>(),
    ) {
        let made = object(0x53, &value);
        let cut = cut.index(made.len());
        prop_assert!(tlv::parse(&made[..cut]).is_none() || cut == 0);
    }

    #[test]
    fn objects_cover_the_bytes_that_they_were_read_from(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        if let Some(objects) = tlv::parse(&bytes) {
            let held: usize = objects.iter().map(|object| object.value.len()).sum();
            prop_assert!(held + 2 * objects.len() <= bytes.len());
        }
    }

    #[test]
    fn a_command_that_was_made_is_taken_apart_again(
        header in any::<[u8; 4]>(),
        data in prop::collection::vec(any::<u8>(), 1..600),
        le in any::<u16>(),
    ) {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let extended = [&header[..], &[0], &length, &data, &le.to_be_bytes()].concat();
        let command = Command::parse(&extended).unwrap();
        prop_assert_eq!(command.data, &data[..]);
        prop_assert_eq!(command.expected, if le == 0 { 65536 } else { usize::from(le) });
        if let Ok(length) = u8::try_from(data.len()) {
            let short = [&header[..], &[length], &data].concat();
            let command = Command::parse(&short).unwrap();
            prop_assert_eq!((command.data, command.expected), (&data[..], 256));
            prop_assert_eq!(command.is_chained(), header[0] & 0x10 != 0);
        }
    }

    #[test]
    fn whoever_does_not_know_the_pin_verifies_nothing(
        model in prop::sample::select(Model::ALL.to_vec()),
        commands in prop::collection::vec(command(), 1..60),
    ) {
        let card = Terminal::of(model);
        card.card.touch(Touch::Never);
        card.card.touch_timeout(Duration::ZERO);
        for command in commands {
            let answer = card.card.transmit(card.insertion, &command).unwrap();
            prop_assert!(answer.len() >= 2);
            let first = answer[answer.len() - 2];
            prop_assert!(matches!(first, 0x61..=0x6f | 0x90), "{first:02x}");
            prop_assert!(!card.card.pin_is_verified());
            prop_assert!(!card.card.is_managed());
            prop_assert!(card.card.pin_is(b"123456"));
            prop_assert!(card.card.slots().is_empty());
        }
    }
}
