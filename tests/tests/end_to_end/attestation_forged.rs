//! What is no proof, made of what real TPMs said.

use std::fs;

use keyward_client::protocol::{
    CoseKey, ErrorCode,
    attestation::{
        AttestationKey, Bundle, Document as _, Identity, Statement, TpmIdentity, TpmStatement,
    },
    operation::{Attest, GetAttestationKey},
};
use keyward_tests::{Daemon, Setup, TokenSetup, openssl, request::refused};

use super::attestation::{NONCE, Rig, identity};

fn statement(file: &str) -> (TpmStatement, Bundle) {
    let bundle = Bundle::from_document(&fs::read(file).unwrap()).unwrap();
    let Statement::Tpm(statement) = bundle.statement.clone() else {
        panic!("another kind");
    };
    (statement, bundle)
}

impl Rig {
    /// A bundle of which something was changed.
    fn forged(&self, from: &str, change: impl FnOnce(&mut TpmStatement, &mut CoseKey)) -> String {
        let (mut statement, bundle) = statement(from);
        let mut key = bundle.key;
        change(&mut statement, &mut key);
        let nonce = bundle.nonce.to_vec();
        let forged = Bundle::new(Statement::Tpm(statement), nonce, key);
        let file = self.file("forged");
        fs::write(&file, forged.to_document().unwrap()).unwrap();
        file
    }

    fn forged_key(&self, identity: TpmIdentity) -> String {
        let forged = AttestationKey::new(Identity::Tpm(identity));
        let file = self.file("forged.key");
        fs::write(&file, forged.to_document().unwrap()).unwrap();
        file
    }

    /// Why there is no challenge.
    fn unchallenged(&self, key: &str, roots: &str) -> String {
        let (pending, output) = (self.file("pending"), self.file("challenge"));
        let challenge = ["attest", "challenge", key, "--ek-roots", roots];
        let more = ["--pending", &pending, "-o", &output];
        self.daemon
            .cli_fails(&[&challenge[..], &more].concat(), b"")
    }

    fn inactive(&self) {
        let (challenge, answer) = (self.file("challenge"), self.file("answer"));
        let activate = ["token", "activate", &challenge, "-o", &answer];
        let said = self.daemon.cli_fails(&activate, b"");
        assert!(said.contains("not for token main"), "{said}");
    }
}

#[test]
fn bundles_that_were_put_together_prove_nothing() {
    let rig = Rig::new(TokenSetup::manufactured_tpm("main"));
    let roots = rig.roots();
    let record = rig.enrol(&["--ek-roots", &roots]);
    let enrolled = ["--enrolment", record.as_str()];
    rig.daemon.create_signer("other");
    let (bundle, other) = (rig.attest("k", &[]), rig.attest("other", &[]));
    rig.is(&bundle, &enrolled, "hardware: ");
    let (of_other, whole_other) = statement(&other);

    let certify = rig.forged(&bundle, |statement, _| {
        statement.attest = of_other.attest.clone();
        statement.signature = of_other.signature.clone();
    });
    rig.is(&certify, &enrolled, "about another key");
    let swapped = rig.forged(&bundle, |_, key| *key = whole_other.key.clone());
    rig.is(
        &swapped,
        &enrolled,
        "is not the one that the TPM's structure has",
    );
    let software = rig.daemon.dir().join("software.pem");
    openssl::generate_ec("P-256", &software).unwrap();
    let public = rig.daemon.dir().join("software.pub");
    openssl::write_public(&software, &public).unwrap();
    let der = openssl::public_der(&public).unwrap();
    let software = CoseKey::from_spki(&der).unwrap();
    let swapped = rig.forged(&bundle, |_, key| *key = software.clone());
    rig.is(
        &swapped,
        &enrolled,
        "is not the one that the TPM's structure has",
    );
    // With the public area changed to fit, its name is another.
    let fitted = rig.forged(&bundle, |statement, key| {
        let CoseKey::P256 { x, y } = &software else {
            panic!("another curve");
        };
        let length = statement.public.len();
        statement.public[length - 66..length - 34].copy_from_slice(x);
        statement.public[length - 32..].copy_from_slice(y);
        *key = software.clone();
    });
    rig.is(&fitted, &enrolled, "about another key");

    // A nonce of another question, and an old bundle with the new nonce written into it.
    let (exit, said) = {
        let verify = [
            "attest",
            "verify",
            &bundle,
            "--nonce",
            &NONCE.replace('0', "1"),
        ];
        let output = rig
            .daemon
            .cli_output(&[&verify[..], &enrolled].concat(), b"");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert!(exit == Some(1) && said.contains("another nonce"), "{said}");
    let old = rig.file("old");
    let nonce = "ff".repeat(32);
    rig.daemon
        .cli(&["key", "attest", "k", "--nonce", &nonce, "-o", &old]);
    let (replayed, old) = statement(&old);
    let nonce = statement(&bundle).1.nonce.to_vec();
    let replayed = Bundle::new(Statement::Tpm(replayed), nonce, old.key);
    let file = rig.file("replayed");
    fs::write(&file, replayed.to_document().unwrap()).unwrap();
    rig.is(&file, &enrolled, "signed for another nonce");
    let key = rig.daemon.public_file("other");
    let key = key.to_str().unwrap();
    rig.is(
        &bundle,
        &[&enrolled[..], &["--key", key]].concat(),
        "about another key than",
    );
}

#[test]
fn one_tpm_does_not_answer_for_another() {
    let rig = Rig::new(TokenSetup::manufactured_tpm("main"));
    let other = Rig::new(TokenSetup::manufactured_tpm("main"));
    let (roots, other_roots) = (rig.roots(), other.roots());
    let (key, other_key) = (rig.attestation_key(), other.attestation_key());

    // The record of one is none for the other.
    let record = rig.enrol(&["--ek-roots", &roots]);
    let bundle = other.attest("k", &[]);
    let verdict = "not bound: the attestation key is not the one of the enrolment record";
    other.is(&bundle, &["--enrolment", &record], verdict);

    // A challenge to one is not opened by the other.
    rig.challenge(&key, &["--ek-roots", &roots]);
    fs::copy(rig.file("challenge"), other.file("challenge")).unwrap();
    other.inactive();

    // An attestation key beside the endorsement key of another TPM: neither opens it.
    let forged = rig.forged_key(TpmIdentity {
        ak: identity(&other_key).ak,
        ..identity(&key)
    });
    rig.challenge(&forged, &["--ek-roots", &roots]);
    fs::copy(rig.file("challenge"), other.file("challenge")).unwrap();
    rig.inactive();
    other.inactive();

    // Another manufacturer, and an endorsement key that the certificate is not about.
    let said = rig.unchallenged(&key, &other_roots);
    assert!(said.contains("no path from it to a root"), "{said}");
    let forged = rig.forged_key(TpmIdentity {
        ek: identity(&other_key).ek,
        ..identity(&key)
    });
    let said = rig.unchallenged(&forged, &roots);
    assert!(
        said.contains("no certificate of its endorsement key"),
        "{said}"
    );

    // The answer to an older challenge.
    rig.challenge(&key, &["--ek-roots", &roots]);
    rig.activate();
    rig.challenge(&key, &["--ek-roots", &roots]);
    let (answer, pending) = (rig.file("answer"), rig.file("pending"));
    let enrol = ["attest", "enrol", &answer, "--pending", &pending];
    let said = rig.daemon.cli_fails(&enrol, b"");
    assert!(said.contains("not the answer to this challenge"), "{said}");
}

#[test]
fn an_imported_key_is_not_hardware() {
    let rig = Rig::new(TokenSetup::tpm("main"));
    let key = rig.daemon.dir().join("key.pem");
    openssl::generate_ec("P-256", &key).unwrap();
    let import = ["key", "import", "imported", "--purpose", "sign"];
    rig.daemon.cli_with(&import, &fs::read(&key).unwrap());
    let bundle = rig.attest("imported", &[]);
    rig.is(&bundle, &[], "the key is not in one TPM alone");
}

#[test]
fn a_token_of_another_kind_attests_nothing() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut client = daemon.client();
    let attest = |length: usize| Attest {
        key: "k".into(),
        nonce: vec![1; length].into(),
        version: None,
    };
    let failure = refused(client.call(attest(16)));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid);
    for length in [0, 15, 65] {
        let failure = refused(client.call(attest(length)));
        assert_eq!(failure.code, ErrorCode::Invalid, "{length}");
    }
    let failure = refused(client.call(GetAttestationKey { token: None }));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid);
}
