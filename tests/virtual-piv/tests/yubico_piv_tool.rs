//! `yubico-piv-tool`, by the maker of the card that is modelled, takes the model for one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;
#[path = "support/tools.rs"]
mod tools;

use std::{fs, thread};

use client::Said as _;
use keyward_virtual_piv::{Card, Model, Touch};
use tools::{PIN, PUK, Tools};

/// Those with a management key that the packaged tool has: it has no AES.
const MANAGED: [Model; 2] = [Model::YubiKey4, Model::YubiKey5];
const ALL: [Model; 3] = [Model::YubiKey4, Model::YubiKey5, Model::YubiKey57];

fn on(models: &[Model], test: impl Fn(&Tools) + Sync) {
    thread::scope(|scope| {
        for model in models {
            scope.spawn(|| test(&Tools::new(*model)));
        }
    });
}

#[test]
fn status_tells_version_and_serial_number() {
    on(&ALL, |tools| {
        let said = tools.yubico("-a status").succeeds();
        let [major, minor, patch] = tools.card.model().version().unwrap();
        assert!(
            said.contains(&format!("Version:\t{major}.{minor}.{patch}\n")),
            "{said}"
        );
        assert!(said.contains("Serial Number:\t12345678\n"), "{said}");
        assert!(said.contains("CHUID:\tNo data available\n"), "{said}");
        assert!(said.contains("PIN tries left:\t3\n"), "{said}");
    });
}

#[test]
fn a_key_of_each_type_signs_and_decrypts() {
    on(&MANAGED, |tools| {
        for (slot, algorithm) in [
            ("9a", "ECCP256"),
            ("9d", "ECCP384"),
            ("82", "RSA1024"),
            ("95", "RSA2048"),
        ] {
            tools.generate(slot, algorithm, "");
            tools.certify(slot);
            let test = |action: &str| {
                let words = format!("-a verify-pin -P {PIN} -a {action} -s {slot} -i {slot}.crt");
                tools.yubico(&words).succeeds()
            };
            let said = test("test-signature");
            assert!(
                said.contains("Successful") && said.contains("verification"),
                "{said}"
            );
            let said = test("test-decipher");
            assert!(said.contains("Successfully performed"), "{said}");
            let certificate = tools.yubico(&format!("-a read-certificate -s {slot}"));
            let certificate = tools.output(&mut { certificate });
            assert_eq!(certificate, tools.read(&format!("{slot}.crt")));
        }
        let said = tools.yubico("-a status").succeeds();
        assert!(
            said.contains("Slot 9a:") && said.contains("CN=holder-9a"),
            "{said}"
        );
        tools.yubico("-a delete-certificate -s 9a").succeeds();
        tools.yubico("-a read-certificate -s 9a").fails();
    });
}

#[test]
fn the_policies_of_a_key_are_kept() {
    on(&MANAGED, |tools| {
        tools.generate("9a", "ECCP256", "--pin-policy=never --touch-policy=never");
        tools.certify("9a");
        let test = |before: &str, slot: &str| {
            tools.yubico(&format!(
                "{before} -a test-signature -s {slot} -i {slot}.crt"
            ))
        };
        let verify = format!("-a verify-pin -P {PIN}");
        test("", "9a").succeeds();

        tools.generate("9c", "ECCP256", "--pin-policy=once");
        tools.certify("9c");
        test("", "9c").fails();
        test(&format!("{verify} -a test-decipher"), "9c").succeeds();

        tools.generate("9d", "ECCP256", "--pin-policy=always");
        tools.certify("9d");
        test(&verify, "9d").succeeds();
        test(&format!("{verify} -a test-decipher"), "9d").fails();

        tools.generate("9e", "ECCP256", "--touch-policy=always");
        tools.certify("9e");
        let before = tools.card.blinks();
        test("", "9e").succeeds();
        assert!(tools.card.blinks() > before);
        tools.card.touch(Touch::Never);
        tools
            .card
            .touch_timeout(std::time::Duration::from_millis(50));
        test("", "9e").fails();
    });
}

/// What the packaged version can't do on OpenSSL 3, with hardware either (its issue 388): it gives up
/// before it sends anything. If it can some day, `openssl` has to agree.
#[test]
fn a_request_and_a_certificate_of_its_own_are_signed_or_never_asked_of_the_card() {
    on(&MANAGED, |tools| {
        tools.generate("9a", "ECCP256", "");
        let words = format!("-a verify-pin -P {PIN} -s 9a -i 9a.pem -S /CN=holder/");
        for (action, check) in [
            ("request-certificate", "req -verify -noout -in made"),
            ("selfsign-certificate", "verify -CAfile made made"),
        ] {
            let before = tools.card.count(0x87);
            let (good, said) = tools.yubico(&format!("{words} -a {action} -o made")).said();
            if good {
                tools.openssl(check).succeeds();
            } else {
                assert!(said.contains("Failed signing"), "{said}");
                assert_eq!(tools.card.count(0x87), before);
            }
        }
    });
}

#[test]
fn pin_and_puk_are_changed_counted_and_unblocked() {
    on(&ALL, |tools| {
        let yubico = |words: &str| tools.yubico(words);
        yubico(&format!("-a change-pin -P {PIN} -N 654321")).succeeds();
        yubico(&format!("-a change-puk -P {PUK} -N 87654321")).succeeds();
        yubico("-a verify-pin -P 654321").succeeds();
        assert!(
            yubico("-a verify-pin -P 000000")
                .fails()
                .contains("2 tries left")
        );
        assert!(
            yubico("-a verify-pin -P 000000")
                .fails()
                .contains("1 tries left")
        );
        yubico("-a verify-pin -P 654321").succeeds();
        assert_eq!(tools.tries(), "3");
        for _ in 0..3 {
            yubico("-a verify-pin -P 000000").fails();
        }
        assert!(
            yubico("-a verify-pin -P 654321")
                .fails()
                .contains("blocked")
        );
        yubico(&format!("-a unblock-pin -P {PUK} -N {PIN}")).fails();
        yubico(&format!("-a unblock-pin -P 87654321 -N {PIN}")).succeeds();
        yubico(&format!("-a verify-pin -P {PIN}")).succeeds();
        assert_eq!((tools.card.pin_tries(), tools.card.puk_tries()), (3, 3));
    });
}

#[test]
fn the_numbers_of_tries_can_be_set() {
    on(&MANAGED, |tools| {
        let set = format!("-a verify-pin -P {PIN} -a pin-retries --pin-retries=7 --puk-retries=5");
        tools.yubico(&set).succeeds();
        assert_eq!((tools.tries().as_str(), tools.card.puk_tries()), ("7", 5));
    });
}

#[test]
fn another_management_key_takes_the_place_of_the_factorys() {
    const OTHER: &str = "112233445566778811223344556677881122334455667788";
    on(&MANAGED, |tools| {
        tools
            .yubico(&format!("-a set-mgm-key -n {OTHER}"))
            .succeeds();
        let said = tools.yubico("-a set-chuid").fails();
        assert!(said.contains("Failed authentication"), "{said}");
        tools
            .yubico(&format!("-k{OTHER} -a set-chuid -a set-ccc"))
            .succeeds();
        let said = tools.yubico("-a status").succeeds();
        assert!(!said.contains("No data available"), "{said}");
    });
}

/// Its management key is one of AES, which this version of the tool does not know.
#[test]
fn a_card_of_5_7_refuses_a_management_key_of_3des() {
    on(&[Model::YubiKey57], |tools| {
        let said = tools.yubico("-a set-chuid").fails();
        assert!(said.contains("Failed authentication"), "{said}");
    });
}

#[test]
fn keys_are_imported_and_are_those_that_openssl_made() {
    on(&MANAGED, |tools| {
        for (slot, make) in [
            (
                "9a",
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            ),
            (
                "9c",
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            ),
            ("9d", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024"),
            ("9e", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ] {
            tools.openssl(&format!("{make} -out {slot}.key")).succeeds();
            tools
                .openssl(&format!("pkey -in {slot}.key -pubout -out {slot}.pem"))
                .succeeds();
            let words = "--pin-policy=never";
            tools
                .yubico(&format!("-a import-key -s {slot} -i {slot}.key {words}"))
                .succeeds();
            tools.certify(slot);
            let test = format!("-a test-signature -s {slot} -i {slot}.crt");
            tools.yubico(&test).succeeds();
            // It was not made in the card, which therefore says nothing for it.
            tools.yubico(&format!("-a attest -s {slot}")).fails();
        }
    });
}

#[test]
fn objects_are_written_and_read() {
    on(&MANAGED, |tools| {
        tools.write("object", b"4b657977617264");
        tools
            .yubico("-a write-object --id 0x5fff11 -i object")
            .succeeds();
        let read = tools.output(&mut tools.yubico("-a read-object --id 0x5fff11"));
        assert_eq!(read.trim_ascii(), b"4b657977617264");
        tools.yubico("-a read-object --id 0x5fff12").fails();
    });
}

#[test]
fn an_attestation_verifies_by_openssl_up_to_the_root() {
    on(&MANAGED, |tools| {
        tools.write("root.der", Card::attestation_root());
        tools
            .openssl("x509 -inform DER -in root.der -out root.pem")
            .succeeds();
        tools
            .yubico("-a read-certificate -s f9 -o f9.crt")
            .succeeds();
        for (slot, algorithm) in [("9a", "ECCP256"), ("9c", "RSA2048"), ("85", "ECCP384")] {
            tools.generate(slot, algorithm, "");
            tools
                .yubico(&format!("-a attest -s {slot} -o attested.crt"))
                .succeeds();
            let verify = "verify -CAfile root.pem -untrusted f9.crt attested.crt";
            tools.openssl(verify).succeeds();
            let alone = tools.openssl("verify -CAfile root.pem attested.crt");
            { alone }.fails();
            let key = tools.output(&mut tools.openssl("x509 -in attested.crt -noout -pubkey"));
            assert_eq!(key, tools.read(&format!("{slot}.pem")));
            let text = tools
                .openssl("x509 -in attested.crt -noout -text")
                .succeeds();
            assert!(text.contains("1.3.6.1.4.1.41482.3.7"), "{text}");
        }
    });
}

#[test]
fn a_reset_wants_pin_and_puk_blocked_and_forgets_everything() {
    on(&ALL, |tools| {
        if MANAGED.contains(&tools.card.model()) {
            tools.generate("9a", "ECCP256", "");
            tools.yubico("-a set-chuid").succeeds();
        }
        tools.yubico("-a reset").fails();
        for _ in 0..3 {
            tools.yubico("-a verify-pin -P 000000").fails();
            tools.yubico("-a unblock-pin -P 00000000 -N 000000").fails();
        }
        assert_eq!((tools.card.pin_tries(), tools.card.puk_tries()), (0, 0));
        tools.yubico("-a reset").succeeds();
        let said = tools.yubico("-a status").succeeds();
        assert!(said.contains("CHUID:\tNo data available\n"), "{said}");
        assert!(said.contains("PIN tries left:\t3\n"), "{said}");
        tools.yubico(&format!("-a verify-pin -P {PIN}")).succeeds();
        assert!(tools.card.slots().is_empty());
    });
}

#[test]
fn the_files_of_a_test_go_with_its_rig() {
    let tools = Tools::new(Model::YubiKey5);
    let path = tools.write("file", "text");
    drop(tools);
    assert!(fs::metadata(path).is_err());
}
