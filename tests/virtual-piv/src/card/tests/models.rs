//! In what the models differ.

use super::*;

#[test]
fn yubikeys_tell_their_version_and_a_plain_card_does_not() {
    for model in YUBIKEYS {
        let card = Terminal::of(model);
        assert_eq!(card.data(0xfd, 0, 0, &[]), model.version().unwrap());
    }
    let plain = Terminal::of(Model::Generic);
    let unknown = Status::INSTRUCTION_NOT_SUPPORTED;
    for instruction in [0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfd, 0xfe, 0xff] {
        assert_eq!(plain.status(instruction, 0, 0, &[]), unknown);
    }
}

#[test]
fn firmware_5_tells_the_serial_number_and_metadata() {
    let unknown = Status::INSTRUCTION_NOT_SUPPORTED;
    for model in [Model::YubiKey5, Model::YubiKey57] {
        let card = Terminal::of(model);
        let serial = 12_345_678_u32.to_be_bytes();
        assert_eq!(card.data(0xf8, 0, 0, &[]), serial);
        assert_eq!(card.status(0xf7, 0, 0x80, &[]), Status::OK);
    }
    let old = Terminal::of(Model::YubiKey4);
    assert_eq!(old.status(0xf8, 0, 0, &[]), unknown);
    assert_eq!(old.status(0xf7, 0, 0x80, &[]), unknown);
}

#[test]
fn firmware_5_7_has_more_algorithms_and_moves_keys() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        for algorithm in [0x05, 0x16, ED25519, X25519] {
            if model != Model::YubiKey57 {
                let status = card.try_generate(0x9e, algorithm, 0, 0).1;
                assert_eq!(status, Status::WRONG_DATA);
                assert_eq!(
                    card.status(0xf6, 0xff, 0x9e, &[]),
                    Status::INSTRUCTION_NOT_SUPPORTED
                );
            }
        }
    }
}

#[test]
fn the_management_key_of_the_factory_is_aes_from_firmware_5_7_on() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(card.metadata(0x9b, 0x01), [0x03]);
    let card = Terminal::of(Model::YubiKey57);
    assert_eq!(card.metadata(0x9b, 0x01), [0x0a]);
    assert_eq!(card.metadata(0x9b, 0x02), [0x00, 0x01]);
    assert_eq!(card.metadata(0x9b, 0x05), [1]);
}

#[test]
fn metadata_of_pin_and_puk_says_whether_they_are_the_factorys_and_the_tries() {
    let card = Terminal::of(Model::YubiKey5);
    for reference in [0x80, 0x81] {
        assert_eq!(card.metadata(reference, 0x01), [0xff]);
        assert_eq!(card.metadata(reference, 0x05), [1]);
        assert_eq!(card.metadata(reference, 0x06), [3, 3]);
    }
    assert_eq!(card.verify(WRONG), Some(Status(0x63c2)));
    assert_eq!(card.metadata(0x80, 0x06), [3, 2]);
    let change = [PIN, b"654321\xff\xff"].concat();
    assert_eq!(card.status(0x24, 0, 0x80, &change), Status::OK);
    assert_eq!(card.metadata(0x80, 0x05), [0]);
}

#[test]
fn metadata_of_a_key_says_what_it_is_and_where_from() {
    let card = Terminal::managed(Model::YubiKey57);
    let public = card.generate(0x9a, P384, 1, 2);
    assert_eq!(card.metadata(0x9a, 0x01), [P384]);
    assert_eq!(card.metadata(0x9a, 0x02), [1, 2]);
    assert_eq!(card.metadata(0x9a, 0x03), [1]);
    assert_eq!(card.metadata(0x9a, 0x04), public);
    let scalar = object(0x06, &[1; 32]);
    assert_eq!(card.status(0xfe, P256, 0x9a, &scalar), Status::OK);
    assert_eq!(card.metadata(0x9a, 0x03), [2]);
    assert_eq!(card.status(0xf7, 0, 0x9c, &[]), Status::REFERENCE_NOT_FOUND);
}

#[test]
fn each_answer_to_reset_is_one_of_t_1_with_a_right_check_byte() {
    for model in Model::ALL {
        let atr = Card::new(model, 1).atr();
        assert_eq!(atr.iter().skip(1).fold(0, |sum, byte| sum ^ byte), 0);
        let historical = usize::from(atr[1] & 0x0f);
        // TS, T0, TA1 to TD1, TD2, TA3, TB3, the historical bytes, TCK.
        assert_eq!(atr.len(), 9 + historical + 1);
    }
}

#[test]
fn classes_and_instructions_that_there_are_not_are_refused() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        let send = |command: &[u8]| card.card.transmit(card.insertion, command).unwrap();
        assert_eq!(send(b"\x80\xca\x9f\x7f\x00"), [0x6e, 0x00]);
        assert_eq!(send(b"\x00\x33\x00\x00"), [0x6d, 0x00]);
        assert_eq!(send(b"\x00\x20\x00"), [0x67, 0x00]);
    }
}
