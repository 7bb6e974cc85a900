//! What the issuer of a plain card has written on it: who the card is (SP 800-73-4 Part 1 §3.1).

use super::object::{CAPABILITIES, CHUID};
use super::piv::Piv;
use super::tlv::object;

/// A FASC-N of nines, which says that there is none.
const NO_FASC_N: [u8; 25] = [
    0xd4, 0xe7, 0x39, 0xda, 0x73, 0x9c, 0xed, 0x39, 0xce, 0x73, 0x9d, 0x83, 0x68, 0x58, 0x21, 0x08,
    0x42, 0x10, 0x84, 0x21, 0xc8, 0x42, 0x10, 0xc3, 0xeb,
];

pub(super) fn issue(piv: &mut Piv) {
    let mut guid = *b"virtual-piv-0000";
    if let Some(end) = guid.last_chunk_mut() {
        *end = piv.serial.to_be_bytes();
    }
    let chuid = [
        object(0x30, &NO_FASC_N),
        object(0x34, &guid),
        object(0x35, b"20500101"),
        object(0x3e, &[]),
        object(0xfe, &[]),
    ];
    let capabilities = [
        object(
            0xf0,
            &[
                b"\xa0\x00\x00\x01\x16\xff\x02".as_slice(),
                guid.get(..14).unwrap_or_default(),
            ]
            .concat(),
        ),
        object(0xf1, &[0x21]),
        object(0xf2, &[0x21]),
        object(0xf3, &[]),
        object(0xf4, &[0x00]),
        object(0xf5, &[0x10]),
        object(0xf6, &[]),
        object(0xf7, &[]),
        object(0xfa, &[]),
        object(0xfb, &[]),
        object(0xfc, &[]),
        object(0xfd, &[]),
        object(0xfe, &[]),
    ];
    // Far below what there is room for.
    let _ = piv.objects.put(CHUID, &chuid.concat());
    let _ = piv.objects.put(CAPABILITIES, &capabilities.concat());
}
