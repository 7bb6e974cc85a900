//! ykman, Yubico's manager of its keys: what it asks of a card that the older tools don't know.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;
#[path = "support/tools.rs"]
mod tools;

use std::{process::Command, thread};

use client::Said as _;
use keyward_virtual_piv::{Card, Model};
use tools::{PIN, PUK, Tools};

const FACTORY_KEY: &str = "010203040506070801020304050607080102030405060708";

/// ykman with words as one would type them.
fn ykman(tools: &Tools, words: &str) -> Command {
    let mut command = tools.rig.command("ykman");
    command
        .current_dir(tools.rig.folder())
        .env("PYTHONWARNINGS", "ignore")
        .args(["--reader", &tools.rig.reader_name(0)])
        .args(words.split_whitespace());
    command
}

fn on(models: &[Model], test: impl Fn(&Tools) + Sync) {
    thread::scope(|scope| {
        for model in models {
            scope.spawn(|| test(&Tools::new(*model)));
        }
    });
}

const FIVE: [Model; 2] = [Model::YubiKey5, Model::YubiKey57];

#[test]
fn it_tells_the_key_apart_and_that_everything_is_the_factorys() {
    on(&FIVE, |tools| {
        let [major, minor, patch] = tools.card.model().version().unwrap();
        let said = ykman(tools, "info").succeeds();
        assert!(said.contains("Serial number: 12345678"), "{said}");
        assert!(
            said.contains(&format!("Firmware version: {major}.{minor}.{patch}")),
            "{said}"
        );
        let said = ykman(tools, "piv info").succeeds();
        assert!(said.contains("PIN tries remaining: 3/3"), "{said}");
        assert!(said.contains("Using default PIN"), "{said}");
        assert!(said.contains("Using default Management key"), "{said}");
        let algorithm = if minor >= 7 { "AES192" } else { "TDES" };
        assert!(
            said.contains(&format!("Management key algorithm: {algorithm}")),
            "{said}"
        );
    });
}

#[test]
fn its_certificates_and_requests_verify_by_openssl() {
    on(&FIVE, |tools| {
        for (slot, algorithm) in [("9a", "ECCP384"), ("9c", "RSA2048")] {
            let make = format!("piv keys generate -m {FACTORY_KEY} -a {algorithm} {slot} made.pem");
            ykman(tools, &make).succeeds();
            let sign = format!("-P {PIN} -s CN=holder {slot} made.pem");
            let certify = format!("piv certificates generate -m {FACTORY_KEY} {sign}");
            ykman(tools, &certify).succeeds();
            ykman(tools, &format!("piv certificates export {slot} made.crt")).succeeds();
            tools.openssl("verify -CAfile made.crt made.crt").succeeds();
            ykman(tools, &format!("piv certificates request {sign} made.csr")).succeeds();
            tools.openssl("req -verify -noout -in made.csr").succeeds();
        }
    });
}

#[test]
fn its_attestation_verifies_up_to_the_root() {
    on(&FIVE, |tools| {
        tools.write("root.der", Card::attestation_root());
        tools
            .openssl("x509 -inform DER -in root.der -out root.pem")
            .succeeds();
        let policies = "--pin-policy ALWAYS --touch-policy CACHED";
        let make = format!("piv keys generate -m {FACTORY_KEY} -a ECCP256 {policies} 82 made.pem");
        ykman(tools, &make).succeeds();
        ykman(tools, "piv keys attest 82 made.crt").succeeds();
        ykman(tools, "piv certificates export f9 f9.crt").succeeds();
        let verify = "verify -CAfile root.pem -untrusted f9.crt made.crt";
        tools.openssl(verify).succeeds();
    });
}

#[test]
fn a_management_key_of_aes_is_set_and_one_behind_the_pin() {
    on(&FIVE, |tools| {
        // Python takes its time to start, so each model has one: from 3DES, and from AES.
        let (algorithm, bytes) = match tools.card.model() {
            Model::YubiKey5 => ("AES128", 16),
            _ => ("TDES", 24),
        };
        let key: String = (1..=bytes).map(|byte| format!("{byte:02x}")).collect();
        let change = "piv access change-management-key";
        let words = format!("{change} -m {FACTORY_KEY} -a {algorithm} -n {key} -f");
        ykman(tools, &words).succeeds();
        let words = format!("piv objects generate -P {PIN} -m {FACTORY_KEY} CHUID");
        ykman(tools, &words).fails();
        let words = format!("piv objects generate -P {PIN} -m {key} CHUID");
        ykman(tools, &words).succeeds();
        let protect = "piv access change-management-key -a AES256 -g -p";
        let words = format!("{protect} -m {key} -P {PIN}");
        ykman(tools, &words).succeeds();
        let said = ykman(tools, "piv info").succeeds();
        assert!(said.contains("protected by PIN"), "{said}");
        // With the PIN alone.
        let words = format!("piv keys generate -P {PIN} -a ECCP256 9a made.pem");
        ykman(tools, &words).succeeds();
        assert_eq!(tools.card.slots(), [0x9a]);
    });
}

#[test]
fn pin_and_puk_are_changed_unblocked_and_given_other_numbers_of_tries() {
    on(&FIVE, |tools| {
        let access = |words: &str| ykman(tools, &format!("piv access {words}")).succeeds();
        access(&format!("change-pin -P {PIN} -n 654321"));
        access(&format!("change-puk -p {PUK} -n 87654321"));
        assert!(tools.card.pin_is(b"654321\xff\xff") && tools.card.puk_is(b"87654321"));
        access("unblock-pin -p 87654321 -n 111111");
        access(&format!("set-retries -P 111111 -m {FACTORY_KEY} -f 5 6"));
        assert_eq!((tools.card.pin_tries(), tools.card.puk_tries()), (5, 6));
        assert!(tools.card.pin_is(b"123456\xff\xff"));
    });
}

#[test]
fn it_empties_the_card() {
    on(
        &[Model::YubiKey4, Model::YubiKey5, Model::YubiKey57],
        |tools| {
            if tools.card.model() != Model::YubiKey4 {
                let make = format!("piv keys generate -m {FACTORY_KEY} -a ECCP256 9a made.pem");
                ykman(tools, &make).succeeds();
            }
            ykman(tools, "piv reset -f").succeeds();
            assert!(tools.card.slots().is_empty());
            assert_eq!((tools.card.pin_tries(), tools.card.puk_tries()), (3, 3));
        },
    );
}
