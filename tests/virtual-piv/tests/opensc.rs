//! OpenSC, which knows PIV cards of many makers: its PKCS#11 module and its tools.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;
#[path = "support/tools.rs"]
mod tools;

use client::Said as _;
use keyward_virtual_piv::Model;
use tools::{PIN, Tools};

const MODULE: &str = "opensc-pkcs11.so";

/// P-256 in 9a (ID 01) and RSA in 9c (02), with certificates, and what names the card.
fn tools(model: Model) -> Tools {
    let tools = Tools::new(model);
    for (slot, algorithm) in [("9a", "ECCP256"), ("9c", "RSA2048")] {
        tools.generate(slot, algorithm, "");
        tools.certify(slot);
    }
    tools.yubico("-a set-chuid -a set-ccc").succeeds();
    tools.write("message", "a message");
    tools
}

const MODELS: [Model; 3] = [Model::YubiKey4, Model::YubiKey5, Model::Generic];

#[test]
fn it_finds_a_piv_card_and_reads_its_certificates() {
    for model in MODELS {
        let tools = tools(model);
        let name = tools.tool("opensc-tool", "--name").succeeds();
        assert!(
            name.contains("Personal Identity Verification Card"),
            "{name}"
        );
        tools.tool("piv-tool", "--serial").succeeds();
        let card = tools.tool("pkcs15-tool", "--dump").succeeds();
        assert!(card.contains("Private EC Key [PIV AUTH key]"), "{card}");
        for (id, slot) in [("1", "9a"), ("2", "9c")] {
            let read = format!("--read-certificate {id} -o read.crt");
            tools.tool("pkcs15-tool", &read).succeeds();
            let subject = tools
                .openssl("x509 -in read.crt -noout -subject")
                .succeeds();
            assert!(subject.contains(&format!("holder-{slot}")), "{subject}");
        }
    }
}

#[test]
fn its_signatures_verify_by_openssl() {
    for model in MODELS {
        let tools = tools(model);
        let sign = |words: &str| {
            let words = format!("--login --pin {PIN} --sign -i message -o signature {words}");
            tools.pkcs11(MODULE, &words).succeeds();
        };
        sign("--id 01 -m ECDSA-SHA256 --signature-format openssl");
        tools.assert_signed("9a", "sha256", "");
        sign("--id 02 -m SHA256-RSA-PKCS");
        tools.assert_signed("9c", "sha256", "");
    }
}

#[test]
fn a_wrong_pin_costs_a_try() {
    for model in MODELS {
        let tools = tools(model);
        let words = "--login --pin 000000 --sign --id 01 -m ECDSA-SHA256 -i message -o signature";
        let said = tools.pkcs11(MODULE, words).fails();
        assert!(said.contains("CKR_PIN_INCORRECT"), "{said}");
        assert_eq!(tools.card.pin_tries(), 2);
    }
}

/// `piv-tool` has AES, as the one tool here. It makes a key but can't write its public key (OpenSC 0.23
/// on OpenSSL 3), which is found in the attestation then.
#[test]
fn a_card_of_5_7_is_managed_by_a_key_of_aes() {
    let tools = Tools::new(Model::YubiKey57);
    let key = tools.write("key", ["01:02:03:04:05:06:07:08"; 3].join(":"));
    let managed = |words: &str| {
        let mut command = tools.tool("piv-tool", "--admin M:9B:0A");
        command
            .args(words.split_whitespace())
            .env("PIV_EXT_AUTH_KEY", &key);
        command.said()
    };
    let _ = managed("--genkey 9A:11");
    assert_eq!(tools.card.slots(), [0x9a]);
    tools.yubico("-a attest -s 9a -o attested.crt").succeeds();
    let public = tools.output(&mut tools.openssl("x509 -in attested.crt -noout -pubkey"));
    tools.write("9a.pem", public);

    tools.issue("9a");
    // It says that it failed when it did not.
    let _ = managed("--cert 9A --in 9a.crt");
    let read = tools.output(&mut tools.yubico("-a read-certificate -s 9a"));
    assert_eq!(read, tools.read("9a.crt"));
    let test = format!("-a verify-pin -P {PIN} -a test-signature -s 9a -i 9a.crt");
    tools.yubico(&test).succeeds();
    tools.write("message", "a message");
    let sign = "--sign --id 01 -m ECDSA-SHA256 --signature-format openssl";
    let sign = format!("--login --pin {PIN} {sign} -i message -o signature");
    tools.pkcs11(MODULE, &sign).succeeds();
    tools.assert_signed("9a", "sha256", "");
    tools.pkcs11("libykcs11.so", &sign).succeeds();
    tools.assert_signed("9a", "sha256", "");

    tools.write("key", ["01:02:03:04:05:06:07:09"; 3].join(":"));
    let (good, said) = managed("--genkey 9C:11");
    assert!(!good, "{said}");
    assert_eq!(tools.card.slots(), [0x9a]);
}
