//! Data objects, chained commands and long answers.

use super::*;

#[test]
fn what_is_put_is_got_and_an_empty_object_is_none() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        assert_eq!(card.get(0x5f_c105).1, Status::NOT_FOUND);
        assert_eq!(card.put(0x5f_c105, b"certificate"), Status::OK);
        let (object_, status) = card.get(0x5f_c105);
        assert_eq!(status, Status::OK);
        assert_eq!(tlv::only(&object_, 0x53), Some(&b"certificate"[..]));
        assert_eq!(card.put(0x5f_c105, b""), Status::OK);
        assert_eq!(card.get(0x5f_c105).1, Status::NOT_FOUND);
    }
}

#[test]
fn objects_are_put_by_whoever_knows_the_management_key() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(
        card.put(0x5f_c105, b"x"),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
}

#[test]
fn an_object_holds_3052_bytes_and_all_of_them_51200() {
    let card = Terminal::managed(Model::YubiKey57);
    let full = Status::NOT_ENOUGH_MEMORY;
    assert_eq!(card.put(0x5f_0000, &[1; 3053]), full);
    let mut count = 0;
    while card.put(0x5f_0000 + count, &[1; 3052]) == Status::OK {
        count += 1;
    }
    assert_eq!(count, 16);
    assert_eq!(card.put(0x5f_0000, &[2; 3052]), Status::OK, "in its place");
    assert_eq!(card.put(0x5f_0000, b""), Status::OK);
    assert_eq!(card.put(0x5f_1000, &[1; 3052]), Status::OK);
}

#[test]
fn a_yubikey_from_the_factory_has_no_chuid_and_a_plain_card_has_one() {
    for model in YUBIKEYS {
        let card = Terminal::of(model);
        assert_eq!(card.get(0x5f_c102).1, Status::NOT_FOUND);
        assert_eq!(card.get(0x5f_c107).1, Status::NOT_FOUND);
    }
    let plain = Terminal::of(Model::Generic);
    let other = Terminal::new(&Card::new(Model::Generic, 2));
    assert_eq!(plain.get(0x5f_c107).1, Status::OK);
    assert_eq!(plain.get(0x5f_c102).1, Status::OK);
    assert_ne!(plain.get(0x5f_c102), other.get(0x5f_c102));
}

#[test]
fn the_discovery_object_has_its_own_tag() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        let found = card.data(0xcb, 0x3f, 0xff, &object(0x5c, &[0x7e]));
        let fields = tlv::parse(tlv::only(&found, 0x7e).unwrap()).unwrap();
        assert_eq!(tlv::find(&fields, 0x5f2f), Some(&[0x40, 0x00][..]));
        let data = [object(0x5c, &[0x7e]), object(0x53, b"x")].concat();
        assert_eq!(card.status(0xdb, 0x3f, 0xff, &data), Status::WRONG_DATA);
    }
}

#[test]
fn the_printed_information_is_behind_the_pin() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        let locked = Status::SECURITY_STATUS_NOT_SATISFIED;
        let absent = if model.is_generic() {
            locked
        } else {
            Status::NOT_FOUND
        };
        assert_eq!(card.get(0x5f_c109).1, absent);
        assert_eq!(card.put(0x5f_c109, b"printed"), Status::OK);
        assert_eq!(card.get(0x5f_c109).1, locked);
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.get(0x5f_c109).1, Status::OK);
    }
}

#[test]
fn names_that_no_object_has_are_wrong_data() {
    let card = Terminal::managed(Model::YubiKey5);
    for name in [
        &[][..],
        &[0x7f],
        &[0x7f, 0x49],
        &[0x5f, 0xc1],
        &[0x60, 0, 0],
    ] {
        let name = object(0x5c, name);
        assert_eq!(card.status(0xcb, 0x3f, 0xff, &name), Status::WRONG_DATA);
        let data = [name, object(0x53, b"x")].concat();
        assert_eq!(card.status(0xdb, 0x3f, 0xff, &data), Status::WRONG_DATA);
    }
    let name = object(0x5c, &[0x5f, 0xc1, 0x05]);
    assert_eq!(card.status(0xcb, 0, 0, &name), Status::WRONG_PARAMETERS);
}

#[test]
fn a_long_answer_comes_in_pieces_that_say_how_much_is_left() {
    let card = Terminal::managed(Model::YubiKey4);
    assert_eq!(card.put(0x5f_c105, &[9; 600]), Status::OK);
    let send = |command: &[u8]| card.card.transmit(card.insertion, command).unwrap();
    let first = send(b"\x00\xcb\x3f\xff\x05\x5c\x03\x5f\xc1\x05\x00");
    assert_eq!((first.len(), &first[256..]), (258, &[0x61, 0x00][..]));
    let second = send(b"\x00\xc0\x00\x00\x00");
    assert_eq!((second.len(), &second[256..]), (258, &[0x61, 92][..]));
    let third = send(b"\x00\xc0\x00\x00\x10");
    assert_eq!((third.len(), &third[16..]), (18, &[0x61, 76][..]));
    let last = send(b"\x00\xc0\x00\x00\x00");
    assert_eq!(&last[76..], [0x90, 0x00]);
    let all = [&first[..256], &second[..256], &third[..16], &last[..76]].concat();
    assert_eq!(tlv::only(&all, 0x53), Some(&[9; 600][..]));
}

#[test]
fn another_command_ends_an_answer_that_was_not_fetched() {
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(card.put(0x5f_c105, &[9; 600]), Status::OK);
    let send = |command: &[u8]| card.card.transmit(card.insertion, command).unwrap();
    let _ = send(b"\x00\xcb\x3f\xff\x05\x5c\x03\x5f\xc1\x05\x00");
    assert_eq!(card.tries(), Status(0x63c3));
    assert_eq!(send(b"\x00\xc0\x00\x00\x00"), [0x90, 0x00]);
}

#[test]
fn extended_lengths_bring_and_take_all_at_once() {
    let card = Terminal::managed(Model::YubiKey5);
    let data = [object(0x5c, &[0x5f, 0xc1, 0x05]), object(0x53, &[9; 600])].concat();
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    let put = [b"\x00\xdb\x3f\xff\x00", &length[..], &data].concat();
    let send = |command: &[u8]| card.card.transmit(card.insertion, command).unwrap();
    assert_eq!(send(&put), [0x90, 0x00]);
    let got = send(b"\x00\xcb\x3f\xff\x00\x00\x05\x5c\x03\x5f\xc1\x05\x00\x00");
    assert_eq!(got.len(), 606);
    assert_eq!(got[604..], [0x90, 0x00]);
}

#[test]
fn a_chain_that_another_command_interrupts_is_forgotten() {
    let card = Terminal::of(Model::YubiKey5);
    let send = |command: &[u8]| card.card.transmit(card.insertion, command).unwrap();
    // Half a PIN, a question, the other half.
    assert_eq!(send(b"\x10\x20\x00\x80\x04\x31\x32\x33\x34"), [0x90, 0x00]);
    assert_eq!(send(b"\x00\xfd\x00\x00\x00")[3..], [0x90, 0x00]);
    assert_eq!(send(b"\x00\x20\x00\x80\x04\x35\x36\xff\xff"), [0x6a, 0x80]);
    assert_eq!(card.card.pin_tries(), 3);
    // In one piece after the other it is the PIN.
    assert_eq!(send(b"\x10\x20\x00\x80\x04\x31\x32\x33\x34"), [0x90, 0x00]);
    assert_eq!(send(b"\x00\x20\x00\x80\x04\x35\x36\xff\xff"), [0x90, 0x00]);
}

#[test]
fn a_chain_has_an_end() {
    let card = Terminal::of(Model::YubiKey5);
    let piece = [&b"\x10\xdb\x3f\xff\xff"[..], &[0; 255]].concat();
    let send = |command: &[u8]| card.card.transmit(card.insertion, command).unwrap();
    for _ in 0..12 {
        assert_eq!(send(&piece), [0x90, 0x00]);
    }
    assert_eq!(send(&piece), [0x67, 0x00]);
}
