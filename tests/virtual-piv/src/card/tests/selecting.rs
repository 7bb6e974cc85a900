//! SELECT, and what ends with an application.

use super::*;

const OPENPGP: &[u8] = &[0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];
const PIV: &[u8] = &[0xa0, 0x00, 0x00, 0x03, 0x08];

#[test]
fn before_an_application_is_selected_nothing_is_done() {
    let card = Card::new(Model::YubiKey5, 1);
    let terminal = Terminal {
        insertion: card.insert(),
        card,
    };
    assert_eq!(
        terminal.verify(PIN),
        Some(Status::INSTRUCTION_NOT_SUPPORTED)
    );
    assert_eq!(terminal.card.pin_tries(), 3);
}

#[test]
fn another_application_ends_what_was_proved() {
    for model in YUBIKEYS {
        let card = Terminal::managed(model);
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.select(OPENPGP).unwrap().1, Status::OK);
        assert_eq!(card.select(PIV).unwrap().1, Status::OK);
        assert_eq!(card.tries(), Status(0x63c3));
        assert!(!card.card.is_managed());
    }
}

#[test]
fn the_same_application_and_one_that_is_not_there_end_nothing() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.select(PIV).unwrap().1, Status::OK);
        assert_eq!(
            card.select(b"\xa0\x00\x00\x00\x01").unwrap().1,
            Status::NOT_FOUND
        );
        assert_eq!(card.tries(), Status::OK);
        assert!(card.card.is_managed());
    }
}

#[test]
fn power_ends_what_was_proved() {
    let card = Terminal::managed(Model::YubiKey57);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    card.card.power();
    assert!(!card.card.pin_is_verified());
    assert_eq!(card.tries(), Status::INSTRUCTION_NOT_SUPPORTED);
    assert_eq!(card.select(PIV).unwrap().1, Status::OK);
    assert_eq!(card.tries(), Status(0x63c3));
}

#[test]
fn a_plain_card_has_no_other_application() {
    let card = Terminal::of(Model::Generic);
    assert_eq!(card.select(OPENPGP).unwrap().1, Status::NOT_FOUND);
    let management = b"\xa0\x00\x00\x05\x27\x47\x11\x17";
    assert_eq!(card.select(management).unwrap().1, Status::NOT_FOUND);
}

#[test]
fn an_answer_to_selection_names_the_application() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        let (answer, _) = card.select(PIV).unwrap();
        let template = tlv::parse(tlv::only(&answer, 0x61).unwrap()).unwrap();
        let identifier = tlv::find(&template, 0x4f).unwrap();
        assert_eq!(identifier, b"\x00\x00\x10\x00\x01\x00");
    }
}

#[test]
fn an_identifier_too_short_selects_nothing() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(card.select(&PIV[..4]).unwrap().1, Status::NOT_FOUND);
    assert_eq!(card.select(&[]).unwrap().1, Status::NOT_FOUND);
}

#[test]
fn the_management_application_tells_version_and_serial_number() {
    for model in YUBIKEYS {
        let card = Terminal::of(model);
        let name = card.select(b"\xa0\x00\x00\x05\x27\x47\x11\x17").unwrap().0;
        let [major, minor, patch] = model.version().unwrap();
        let version = format!("{major}.{minor}.{patch}");
        assert!(String::from_utf8(name).unwrap().ends_with(&version));
        let information = card.data(0x1d, 0, 0, &[]);
        assert_eq!(usize::from(information[0]), information.len() - 1);
        let fields = tlv::parse(&information[1..]).unwrap();
        let serial = tlv::find(&fields, 0x02).unwrap();
        assert_eq!(serial, 12_345_678_u32.to_be_bytes());
    }
}

#[test]
fn the_serial_number_of_a_yubikey_4_is_in_the_otp_application() {
    let card = Terminal::of(Model::YubiKey4);
    assert_eq!(
        card.status(0xf8, 0, 0, &[]),
        Status::INSTRUCTION_NOT_SUPPORTED
    );
    let otp = b"\xa0\x00\x00\x05\x27\x20\x01";
    assert_eq!(card.select(otp).unwrap().1, Status::OK);
    let serial = card.data(0x01, 0x10, 0, &[]);
    assert_eq!(serial, 12_345_678_u32.to_be_bytes());
}
