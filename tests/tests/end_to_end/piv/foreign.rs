//! Keys that other programs put into slots: taken over, and noticed where they take another's place.

use std::{fs, path::Path};

use keyward_backend::{
    VersionId,
    message::{Outcome, Work},
};
use keyward_client::protocol::{
    ErrorCode, KeyState,
    operation::{Adopt, Describe, Destroy, Ecdh, GetPublicKey},
};
use keyward_tests::{Worker, piv::CardToken, request::refused};
use keyward_virtual_piv::Model;
use uuid::Uuid;

use super::{keys::yubico, *};

fn adopt(alias: &str, place: &str) -> Adopt {
    Adopt {
        purpose: Purpose::Sign,
        place: place.to_owned(),
        alias: Some(alias.to_owned()),
        token: Some(CARD.to_owned()),
        formats: None,
        tags: None,
        key_type: None,
    }
}

/// Another program makes a key in a slot and puts a certificate of it beside.
#[track_caller]
fn made_by_another(daemon: &Daemon, slot: &str) {
    let card = daemon.card(CARD);
    let path = |name: &str| daemon.dir().join(name).to_str().expect("UTF-8").to_owned();
    let (public, certificate) = (path("public.pem"), path("certificate.pem"));
    let generate = ["-a", "generate", "-s", slot, "-A", "ECCP256", "-o", &public];
    yubico(card, &generate);
    openssl::issue(daemon.dir());
    let import = ["-a", "import-certificate", "-s", slot, "-i", &certificate];
    yubico(card, &import);
}

fn slots(card: &CardToken) -> Vec<u8> {
    card.card().slots()
}

#[test]
fn a_key_of_another_program_is_taken_over_on_every_kind_of_card_and_left_to_it() {
    // yubico-piv-tool of Debian 12 knows no AES, which firmware 5.7 wants.
    for model in [Model::YubiKey5, Model::YubiKey4, Model::Generic] {
        let setup = match model {
            Model::Generic => TokenSetup::piv_of(CARD, model).any_serial(),
            _ => TokenSetup::piv_of(CARD, model),
        };
        let daemon = one_card(setup);
        let refused_place = refused(daemon.client().call(adopt("k", "9c")));
        assert_eq!(refused_place.code, ErrorCode::Invalid, "{refused_place}");
        made_by_another(&daemon, "9c");
        let taken = daemon.client().call(adopt("k", "9c"));
        let key = taken.unwrap_or_else(|error| panic!("{model:?} {error:?}\n{}", daemon.stderr()));
        assert!(locator(&key).contains("slot=9c"), "{key:?}");
        let made = sign_once(&daemon, "k").expect("a signature");
        let der = keyward_client::key_format::ecdsa_to_der(&made.signature).expect("two numbers");
        let public = daemon.dir().join("public.pem");
        openssl::verify_ecdsa(&public, "sha256", b"message", &der).expect("a signature");
        let again = refused(daemon.client().call(adopt("again", "9c")));
        assert_eq!(again.code, ErrorCode::Exists, "{again}");
        let destroyed = daemon.client().call(Destroy {
            key: "k".to_owned(),
            now: true,
        });
        assert_eq!(destroyed.expect("forgotten").overwritten, None);
        assert_eq!(slots(daemon.card(CARD)), [0x9c], "it is another program's");
        assert_sound(&daemon, CARD);
    }
}

#[test]
fn a_key_that_was_exchanged_while_the_card_stayed_neither_signs_nor_agrees() {
    let daemon = one_card(TokenSetup::piv_of(CARD, Model::YubiKey5));
    daemon.create_signer("k");
    daemon.create("agree", Purpose::Agree, KeyType::P256);
    let peer = daemon.client().call(GetPublicKey {
        key: "k".to_owned(),
        version: None,
    });
    let peer = peer.expect("a key").cose_key;
    let agree = || {
        daemon.client().call(Ecdh {
            key: "agree".to_owned(),
            peer: peer.clone(),
            kdf: None,
            version: None,
        })
    };
    sign_once(&daemon, "k").expect("a signature");
    agree().expect("a secret");
    for slot in ["82", "83"] {
        yubico(
            daemon.card(CARD),
            &["-a", "generate", "-s", slot, "-A", "ECCP256"],
        );
    }
    // A card that shows its keys is asked anew every half second.
    let notices = |asks: &dyn Fn() -> Result<(), Error>| {
        wait_for(
            || matches!(asks(), Err(Error::Refused(failure)) if failure.code == ErrorCode::NotFound),
            PATIENCE,
        )
    };
    assert!(notices(&|| sign_once(&daemon, "k").map(drop)));
    assert!(notices(&|| agree().map(drop)));
    assert_sound(&daemon, CARD);
}

#[test]
fn a_signature_of_another_key_does_not_leave_where_a_card_does_not_show_its_keys() {
    let daemon = one_card(TokenSetup::piv_of(CARD, Model::YubiKey4));
    let piv = PivChoice {
        slot: Some(0x82),
        ..PivChoice::default()
    };
    make(&daemon, "k", Purpose::Sign, KeyType::P256, piv);
    sign_once(&daemon, "k").expect("a signature");
    let generate = ["-a", "generate", "-s", "82", "-A", "ECCP256"];
    yubico(daemon.card(CARD), &generate);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
}

#[test]
fn destroying_says_where_a_key_was_only_overwritten() {
    for (model, said) in [(Model::YubiKey5, true), (Model::YubiKey57, false)] {
        let daemon = one_card(TokenSetup::piv_of(CARD, model));
        daemon.create_signer("k");
        let output = daemon.cli_output(&["key", "destroy", "k", "--now", "--yes"], b"");
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words}");
        assert_eq!(words.contains("card can't delete a key"), said, "{words}");
        let records = daemon.audit();
        let noted = records.iter().any(|record| {
            let detail = record["detail"].as_str().unwrap_or_default();
            record["op"] == "destroy" && detail.contains("overwritten on card")
        });
        assert_eq!(noted, said, "{records:#?}");
    }
}

#[test]
fn a_key_is_attested_by_its_card_and_verified_without_an_agent() {
    let daemon = one_card(TokenSetup::piv(CARD));
    daemon.create_signer("k");
    import(&daemon, "brought", Purpose::Sign, &[CARD]);
    let path = |name: &str| daemon.dir().join(name).to_str().expect("UTF-8").to_owned();
    let (bundle, root, public) = (path("k.attestation"), path("root.pem"), path("k.pem"));
    let der = path("root.der");
    fs::write(&der, keyward_virtual_piv::Card::attestation_root()).expect("a file");
    let mut pem = openssl::command("x509");
    pem.args(["-inform", "DER", "-in", &der, "-out", &root]);
    openssl::run(&mut pem).expect("PEM");
    let nonce = "00112233445566778899aabbccddeeff";
    daemon.cli(&["key", "attest", "k", "--nonce", nonce, "-o", &bundle]);
    daemon.cli(&["key", "public", "k", "-o", &public]);
    let verify = |nonce: &str, more: &[&str]| {
        let verify = ["attest", "verify", &bundle, "--nonce", nonce];
        let output = daemon.cli_output(&[&verify[..], more].concat(), b"");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (good, said) = verify(nonce, &["--piv-roots", &root, "--key", &public]);
    assert!(
        good && said.contains("hardware: the key was made in a PIV card"),
        "{said}"
    );
    let serial = daemon.card(CARD).card().serial().to_string();
    assert!(said.contains(&serial) && said.contains("5.7"), "{said}");
    // Without the root, with another nonce, about another key: none of it is good.
    for (nonce, more) in [
        (nonce, &[][..]),
        (
            "ffeeddccbbaa99887766554433221100",
            &["--piv-roots", &root][..],
        ),
    ] {
        let (good, said) = verify(nonce, more);
        assert!(!good, "{said}");
    }
    daemon.cli(&["key", "public", "brought", "-o", &path("other.pem")]);
    let (good, said) = verify(nonce, &["--piv-roots", &root, "--key", &path("other.pem")]);
    assert!(!good && said.contains("another key"), "{said}");
    let attest = [
        "key",
        "attest",
        "brought",
        "--nonce",
        nonce,
        "-o",
        &path("none"),
    ];
    let refused = daemon.cli_output(&attest, b"");
    assert!(!refused.status.success(), "it was not made in the card");
    assert!(!Path::new(&path("none")).exists());
    assert_sound(&daemon, CARD);
}

#[test]
fn what_an_interrupted_reset_has_left_open_is_entered_as_the_card_shows_it() {
    let mut daemon = one_card(TokenSetup::piv(CARD));
    let [gone, there] = ["gone", "there"].map(|name| daemon.create_signer(name));
    daemon.terminate();
    for key in [&gone, &there] {
        daemon.intend(&serde_json::json!({
            "op": "reset-token", "key": key.id, "version": key.versions[0].id, "token": CARD,
        }));
    }
    // As if the reset had taken one of them: with one intent each, each is looked for.
    delete(&daemon, &gone);
    daemon.start_again();
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    let state = |key: &KeyDescription| {
        let key = key.id.clone();
        let described = daemon.client().call(Describe { key });
        described.expect("it is known").versions[0].state
    };
    assert!(wait_for(|| state(&gone) == KeyState::Destroyed, PATIENCE));
    let ended = || {
        let records = daemon.audit();
        let outcomes = records
            .iter()
            .filter(|r| r["op"] == "reset-token" && r["kind"] == "manage-outcome");
        outcomes.count() == 2
    };
    assert!(wait_for(ended, PATIENCE), "{:#?}", daemon.audit());
    assert_eq!(state(&there), KeyState::Active);
    sign_once(&daemon, "there").expect("a signature");
}

/// Takes a key from the card, as a reset does with all.
#[track_caller]
fn delete(daemon: &Daemon, key: &KeyDescription) {
    let mut worker = Worker::start_piv_of(daemon.card(CARD));
    worker.open().expect("the card");
    worker.login(PIV_PIN).expect("its PIN");
    let id = Uuid::parse_str(&key.versions[0].id).expect("an id");
    let destroyed = worker.call(Work::Destroy(VersionId::from(id)));
    assert_eq!(destroyed, Outcome::Done);
}
