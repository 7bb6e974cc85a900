//! The management key.

use aes::cipher::{Array, BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};

use super::*;
use crate::terminal::FACTORY_KEY;

const TRIPLE_DES: u8 = 0x03;
const AES_128: u8 = 0x08;
const AES_192: u8 = 0x0a;
const AES_256: u8 = 0x0c;

fn crypt(algorithm: u8, key: &[u8], block: &[u8], decrypts: bool) -> Vec<u8> {
    macro_rules! with {
        ($cipher:ty) => {{
            let cipher = <$cipher>::new_from_slice(key).unwrap();
            let mut block = Array::try_from(block).unwrap();
            if decrypts {
                cipher.decrypt_block(&mut block);
            } else {
                cipher.encrypt_block(&mut block);
            }
            block.to_vec()
        }};
    }
    match algorithm {
        TRIPLE_DES => with!(des::TdesEde3),
        AES_128 => with!(aes::Aes128),
        AES_192 => with!(aes::Aes192),
        _ => with!(aes::Aes256),
    }
}

impl Terminal {
    fn step(&self, algorithm: u8, objects: &[Vec<u8>]) -> (Vec<u8>, Status) {
        let template = object(0x7c, &objects.concat());
        let (answer, status) = self.send(0x87, algorithm, 0x9b, &template).unwrap();
        let inside = tlv::only(&answer, 0x7c).unwrap_or_default();
        let fields = tlv::parse(inside).unwrap();
        let value = fields.first().map(|field| field.value.to_vec());
        (value.unwrap_or_default(), status)
    }

    fn mutual(&self, algorithm: u8, key: &[u8]) -> Status {
        let (witness, status) = self.step(algorithm, &[object(0x80, &[])]);
        if status != Status::OK {
            return status;
        }
        let challenge = vec![0x5a; witness.len()];
        let opened = crypt(algorithm, key, &witness, true);
        let (answer, status) = self.step(
            algorithm,
            &[object(0x80, &opened), object(0x81, &challenge)],
        );
        if status == Status::OK {
            assert_eq!(answer, crypt(algorithm, key, &challenge, false));
        }
        status
    }

    fn single(&self, algorithm: u8, key: &[u8]) -> Status {
        let (challenge, status) = self.step(algorithm, &[object(0x81, &[])]);
        if status != Status::OK {
            return status;
        }
        let answer = crypt(algorithm, key, &challenge, false);
        self.step(algorithm, &[object(0x82, &answer)]).1
    }

    fn set_key(&self, algorithm: u8, key: &[u8], touch: u8) -> Status {
        let length = u8::try_from(key.len()).unwrap();
        let data = [&[algorithm, 0x9b, length], key].concat();
        self.status(0xff, 0xff, touch, &data)
    }
}

fn factory(model: Model) -> u8 {
    if model == Model::YubiKey57 {
        AES_192
    } else {
        TRIPLE_DES
    }
}

#[test]
fn the_key_of_the_factory_is_proved_either_way() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        assert_eq!(card.single(factory(model), &FACTORY_KEY), Status::OK);
        assert!(card.card.is_managed());
        let card = Terminal::of(model);
        assert_eq!(card.mutual(factory(model), &FACTORY_KEY), Status::OK);
        assert!(card.card.is_managed());
    }
}

#[test]
fn triple_des_has_another_number_too() {
    let card = Terminal::of(Model::YubiKey5);
    let (challenge, status) = card.step(0x00, &[object(0x81, &[])]);
    assert_eq!((challenge.len(), status), (8, Status::OK));
}

#[test]
fn another_key_proves_nothing_and_costs_nothing() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        let wrong = [9; 24];
        for _ in 0..20 {
            let refused = Status::SECURITY_STATUS_NOT_SATISFIED;
            assert_eq!(card.single(factory(model), &wrong), refused);
            assert_eq!(card.mutual(factory(model), &wrong), refused);
        }
        assert!(!card.card.is_managed());
        assert_eq!(card.mutual(factory(model), &FACTORY_KEY), Status::OK);
    }
}

#[test]
fn another_algorithm_than_that_of_the_key_is_refused() {
    let card = Terminal::of(Model::YubiKey57);
    for algorithm in [TRIPLE_DES, AES_128, AES_256, 0x11] {
        let (_, status) = card.step(algorithm, &[object(0x81, &[])]);
        assert_eq!(status, Status::WRONG_DATA);
    }
}

#[test]
fn a_challenge_serves_once_and_only_for_what_it_is() {
    let card = Terminal::of(Model::YubiKey5);
    let refused = Status::SECURITY_STATUS_NOT_SATISFIED;
    let answer = object(0x82, &[1; 8]);
    assert_eq!(card.step(TRIPLE_DES, &[answer]).1, refused, "unasked");
    let (challenge, _) = card.step(TRIPLE_DES, &[object(0x81, &[])]);
    let right = object(0x82, &crypt(TRIPLE_DES, &FACTORY_KEY, &challenge, false));
    assert_eq!(
        card.step(TRIPLE_DES, std::slice::from_ref(&right)).1,
        Status::OK
    );
    card.card.power();
    let _ = card.select(&[0xa0, 0x00, 0x00, 0x03, 0x08]);
    assert_eq!(card.step(TRIPLE_DES, &[right]).1, refused, "again");

    // The encrypted witness as an answer to the other kind of challenge.
    let (witness, _) = card.step(TRIPLE_DES, &[object(0x80, &[])]);
    assert_eq!(card.step(TRIPLE_DES, &[object(0x82, &witness)]).1, refused);
    let (challenge, _) = card.step(TRIPLE_DES, &[object(0x81, &[])]);
    let parts = [object(0x80, &challenge), object(0x81, &[1; 8])];
    assert_eq!(card.step(TRIPLE_DES, &parts).1, refused);
    assert!(!card.card.is_managed());
}

#[test]
fn a_new_key_takes_the_place_of_the_old_one() {
    for algorithm in [TRIPLE_DES, AES_128, AES_192, AES_256] {
        let card = Terminal::managed(Model::YubiKey5);
        let length = match algorithm {
            AES_128 => 16,
            AES_256 => 32,
            _ => 24,
        };
        let key: Vec<u8> = (1..=length).collect();
        assert_eq!(card.set_key(algorithm, &key, 0xff), Status::OK);
        assert_eq!(card.metadata(0x9b, 0x01), [algorithm]);
        assert_eq!(card.metadata(0x9b, 0x05), [0]);
        card.card.power();
        let _ = card.select(&[0xa0, 0x00, 0x00, 0x03, 0x08]);
        assert_eq!(card.mutual(algorithm, &key), Status::OK);
        assert_eq!(card.single(algorithm, &key), Status::OK);
    }
}

#[test]
fn a_new_key_is_taken_from_whoever_has_proved_the_old_one() {
    let card = Terminal::of(Model::YubiKey5);
    let refused = Status::SECURITY_STATUS_NOT_SATISFIED;
    assert_eq!(card.set_key(TRIPLE_DES, &[1; 24], 0xff), refused);
    assert_eq!(card.metadata(0x9b, 0x05), [1]);
}

#[test]
fn keys_of_a_wrong_length_or_kind_are_refused() {
    let card = Terminal::managed(Model::YubiKey57);
    for (algorithm, length) in [(AES_128, 24), (AES_256, 24), (TRIPLE_DES, 16), (0x11, 24)] {
        let status = card.set_key(algorithm, &vec![1; length], 0xff);
        assert_eq!(status, Status::WRONG_DATA);
    }
    let status = card.status(0xff, 0xff, 0xff, &[AES_128, 0x9b, 16, 1, 2, 3]);
    assert_eq!(status, Status::WRONG_DATA);
    let status = card.set_key(AES_192, &[1; 24], 0xf0);
    assert_eq!(status, Status::WRONG_PARAMETERS);
}

#[test]
fn firmware_4_knows_no_keys_of_aes() {
    let card = Terminal::managed(Model::YubiKey4);
    for (algorithm, length) in [(AES_128, 16), (AES_192, 24), (AES_256, 32)] {
        let status = card.set_key(algorithm, &vec![1; length], 0xff);
        assert_eq!(status, Status::WRONG_DATA);
    }
}

#[test]
fn a_key_can_want_a_touch_which_comes_with_the_last_step() {
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(card.set_key(TRIPLE_DES, &[1; 24], 0xfe), Status::OK);
    assert_eq!(card.metadata(0x9b, 0x02), [0, 2]);
    assert_eq!(card.single(TRIPLE_DES, &[1; 24]), Status::OK);
    assert_eq!(card.card.blinks(), 1);
    assert_eq!(card.mutual(TRIPLE_DES, &[1; 24]), Status::OK);
    assert_eq!(card.card.blinks(), 2);
}
