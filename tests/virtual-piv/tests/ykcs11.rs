//! ykcs11, Yubico's PKCS#11 module, through `pkcs11-tool`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;
#[path = "support/tools.rs"]
mod tools;

use client::Said as _;
use keyward_virtual_piv::Model;
use tools::{PIN, Tools};

const MODULE: &str = "libykcs11.so";
const FACTORY_KEY: &str = "010203040506070801020304050607080102030405060708";

/// A card with a key of each kind: P-256 in 9a (ID 01), RSA in 9c (02), P-384 in 9d (03).
fn tools(model: Model) -> Tools {
    let tools = Tools::new(model);
    for (slot, algorithm) in [("9a", "ECCP256"), ("9c", "RSA2048"), ("9d", "ECCP384")] {
        tools.generate(slot, algorithm, "");
        tools.certify(slot);
    }
    tools.write("message", "a message");
    tools
}

fn login(words: &str) -> String {
    format!("--login --pin {PIN} {words}")
}

#[test]
fn it_lists_the_card_its_keys_and_certificates() {
    for model in [Model::YubiKey4, Model::YubiKey5] {
        let tools = tools(model);
        let slots = tools.pkcs11(MODULE, "--list-slots").succeeds();
        assert!(slots.contains("YubiKey PIV #12345678"), "{slots}");
        let objects = tools.pkcs11(MODULE, "--list-objects").succeeds();
        for holder in ["CN=holder-9a", "CN=holder-9c", "CN=holder-9d"] {
            assert!(objects.contains(holder), "{objects}");
        }
        assert!(
            objects.contains("X.509 Certificate for PIV Attestation 9a"),
            "{objects}"
        );
    }
}

#[test]
fn its_signatures_verify_by_openssl() {
    for model in [Model::YubiKey4, Model::YubiKey5] {
        let tools = tools(model);
        let sign = |words: &str| {
            let words = login(&format!("--sign -i message -o signature {words}"));
            tools.pkcs11(MODULE, &words).succeeds();
        };
        sign("--id 01 -m ECDSA-SHA256 --signature-format openssl");
        tools.assert_signed("9a", "sha256", "");
        sign("--id 03 -m ECDSA-SHA384 --signature-format openssl");
        tools.assert_signed("9d", "sha384", "");
        sign("--id 02 -m SHA256-RSA-PKCS");
        tools.assert_signed("9c", "sha256", "");
        sign("--id 02 -m SHA512-RSA-PKCS-PSS");
        tools.assert_signed("9c", "sha512", "-sigopt rsa_padding_mode:pss");
        // The key signs what it was given, and nothing else.
        tools.write("message", "another");
        let verify = "dgst -sha512 -verify 9c.pem -signature signature \
                      -sigopt rsa_padding_mode:pss message";
        tools.openssl(verify).fails();
    }
}

#[test]
fn it_derives_what_openssl_derives() {
    let tools = tools(Model::YubiKey5);
    for (id, slot, curve) in [("01", "9a", "P-256"), ("03", "9d", "P-384")] {
        let make =
            format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out peer.key");
        tools.openssl(&make).succeeds();
        tools
            .openssl("pkey -in peer.key -pubout -outform DER -out peer.der")
            .succeeds();
        let words = format!("--derive --id {id} -m ECDH1-DERIVE -i peer.der -o derived");
        tools.pkcs11(MODULE, &login(&words)).succeeds();
        let theirs = format!("pkeyutl -derive -inkey peer.key -peerkey {slot}.pem");
        let theirs = tools.output(&mut tools.openssl(&theirs));
        assert_eq!(tools.read("derived"), theirs);
    }
}

#[test]
fn it_decrypts_what_openssl_encrypted() {
    let tools = tools(Model::YubiKey5);
    for (mechanism, padding, more) in [
        ("RSA-PKCS", "pkcs1", ""),
        ("RSA-PKCS-OAEP", "oaep", "--hash-algorithm SHA-1"),
    ] {
        let encrypt = "pkeyutl -encrypt -pubin -inkey 9c.pem -in message -out encrypted";
        let encrypt = format!("{encrypt} -pkeyopt rsa_padding_mode:{padding}");
        tools.openssl(&encrypt).succeeds();
        let words = format!("--decrypt --id 02 -m {mechanism} -i encrypted -o decrypted {more}");
        tools.pkcs11(MODULE, &login(&words)).succeeds();
        assert_eq!(tools.read("decrypted"), b"a message");
    }
}

#[test]
fn it_makes_a_key_in_the_card() {
    let tools = Tools::new(Model::YubiKey5);
    tools.write("message", "a message");
    for (id, kind) in [("01", "EC:secp256r1"), ("02", "rsa:2048")] {
        let words = "--login --login-type so --keypairgen";
        let words = format!("{words} --so-pin {FACTORY_KEY} --id {id} --key-type {kind}");
        let said = tools.pkcs11(MODULE, &words).succeeds();
        assert!(said.contains("Key pair generated"), "{said}");
    }
    assert_eq!(tools.card.slots(), [0x9a, 0x9c]);
    let words = "--read-object --type pubkey --id 01 -o public.der";
    tools.pkcs11(MODULE, words).succeeds();
    tools
        .openssl("pkey -pubin -inform DER -in public.der -out 9a.pem")
        .succeeds();
    let words = login("--sign --id 01 -m ECDSA-SHA256 --signature-format openssl");
    let words = format!("{words} -i message -o signature");
    tools.pkcs11(MODULE, &words).succeeds();
    tools.assert_signed("9a", "sha256", "");
}

#[test]
fn a_wrong_pin_costs_a_try() {
    let tools = tools(Model::YubiKey5);
    let sign = "--sign --id 01 -m ECDSA-SHA256 -i message -o signature";
    let words = format!("--login --pin 000000 {sign}");
    let said = tools.pkcs11(MODULE, &words).fails();
    assert!(said.contains("CKR_PIN_INCORRECT"), "{said}");
    assert_eq!(tools.tries(), "2");
    tools.pkcs11(MODULE, &login(sign)).succeeds();
    assert_eq!(tools.tries(), "3");
}
