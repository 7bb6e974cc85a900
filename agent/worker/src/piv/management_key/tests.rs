#![allow(clippy::unwrap_used)]

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// FIPS 197 appendix C, and SP 800-67 with one of its examples.
#[test]
fn a_block_is_that_of_the_standard() {
    let aes = "00112233445566778899aabbccddeeff";
    let des = "5468652071756663";
    for (cipher, key, plain, encrypted) in [
        (
            Cipher::Aes128,
            "000102030405060708090a0b0c0d0e0f",
            aes,
            "69c4e0d86a7b0430d8cdb78070b4c55a",
        ),
        (
            Cipher::Aes192,
            "000102030405060708090a0b0c0d0e0f1011121314151617",
            aes,
            "dda97ca4864cdfe06eaf70a0ec0d7191",
        ),
        (
            Cipher::Aes256,
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            aes,
            "8ea2b7ca516745bfeafc49904b496089",
        ),
        (
            Cipher::TripleDes,
            "0123456789abcdef23456789abcdef01456789abcdef0123",
            des,
            "a826fd8ce53b855f",
        ),
    ] {
        let key = SecretBytes::copy_from(&hex(key));
        assert_eq!(key.len(), cipher.key_length());
        let (plain, encrypted) = (hex(plain), hex(encrypted));
        assert_eq!(plain.len(), cipher.block_length());
        assert_eq!(
            cipher.block(&key, &plain, Direction::Encrypt),
            Some(encrypted.clone())
        );
        assert_eq!(
            cipher.block(&key, &encrypted, Direction::Decrypt),
            Some(plain)
        );
        assert_eq!(cipher.block(&key, b"short", Direction::Decrypt), None);
        assert_eq!(Cipher::new(cipher.number()), Some(cipher));
    }
}

#[test]
fn admin_data_keeps_what_is_not_ours() {
    // The PUK is blocked, and a time stamp.
    let object = hex("80 09 8101 01 8304 00000001");
    let mut admin = AdminData::parse(&object).unwrap();
    assert!(!admin.is_protected() && !admin.is_derived());
    assert_eq!(admin.to_object(), object);
    admin.protect();
    assert!(admin.is_protected());
    assert_eq!(admin.to_object(), hex("80 09 8101 03 8304 00000001"));
}

#[test]
fn a_salt_goes_when_the_key_is_no_longer_made_from_the_pin() {
    let mut admin = AdminData::parse(&hex("80 04 8202 aabb")).unwrap();
    assert!(admin.is_derived());
    admin.protect();
    assert_eq!(admin.to_object(), hex("80 03 8101 02"));
}
