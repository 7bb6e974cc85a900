//! Data that a TPM seals, and gives back.

use std::fs;

use keyward_client::protocol::operation::{
    Create, Enable, Export, Import, KeyMaterial, LoginState, Reseal, Rotate, Unseal,
};
use keyward_client::protocol::{ErrorCode, KeyType, Purpose, SecretBytes};
use keyward_tests::{
    Daemon, PATIENCE, Setup, TokenSetup,
    request::{create, refused, sign},
    swtpm::tpm2,
    wait_for,
};

use super::backup::{backup, restore};

const DATA: &[u8] = b"correct horse battery staple";

fn start(setup: TokenSetup) -> Daemon {
    let daemon = Daemon::start(Setup::new().token(setup).token(TokenSetup::new("hsm")));
    for token in ["chip", "hsm"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    daemon
}

fn unseal(key: &str) -> Unseal {
    Unseal { key: key.into() }
}

fn seal(alias: &str, token: &str, data: &[u8]) -> Import {
    Import {
        purpose: Purpose::Seal,
        material: KeyMaterial::Secret(KeyType::Data, SecretBytes::copy_from(data)),
        alias: Some(alias.into()),
        tokens: Some(vec![token.into()]),
        formats: None,
        tags: None,
        existing: None,
        bind: None,
        piv: None,
    }
}

#[test]
fn what_was_sealed_is_given_back_with_a_pin_and_without() {
    for setup in [TokenSetup::tpm("chip"), TokenSetup::tpm_without_pin("chip")] {
        let mut daemon = start(setup);
        let shown = daemon.cli_with(&["seal", "disk", "--token", "chip"], DATA);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("purpose       seal"), "{shown}");
        assert_eq!(daemon.cli(&["unseal", "disk"]), DATA);
        // As much as a TPM takes.
        let most: Vec<u8> = (0..128).collect();
        daemon.client().call(seal("most", "chip", &most)).unwrap();
        let given = daemon.client().call(unseal("most")).unwrap();
        assert_eq!(given.data.expose(), most);
        let file = daemon.dir().join("out");
        daemon.cli(&["unseal", "disk", "-o", file.to_str().unwrap()]);
        assert_eq!(fs::read(&file).unwrap(), DATA);
        assert!(
            !daemon.tpm("chip").proxy().saw(DATA),
            "it passed in the clear"
        );
        // The log has how long it was, and nothing of it.
        let log = daemon.audit();
        let of = |op: &str| {
            log.iter()
                .find(|record| record["op"] == op)
                .unwrap()
                .clone()
        };
        for op in ["import", "unseal"] {
            assert_eq!(of(op)["length"], DATA.len(), "{op}");
            assert!(of(op)["digest"].is_null(), "{op}");
        }
        daemon.restart();
        daemon.wait_for_token("chip", LoginState::Unlocked);
        assert_eq!(daemon.cli(&["unseal", "disk"]), DATA);
        daemon.cli(&["key", "destroy", "disk", "--now", "--yes"]);
        daemon.cli_fails(&["unseal", "disk"], b"");
    }
}

#[test]
fn what_sealed_data_can_not_do_is_said() {
    let daemon = start(TokenSetup::tpm_without_pin("chip"));
    let mut client = daemon.client();
    client.call(seal("disk", "chip", DATA)).unwrap();
    for length in [0, 129] {
        let failure = refused(client.call(seal("x", "chip", &vec![7; length])));
        assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
        assert!(failure.message.contains("1 to 128 bytes"), "{failure}");
    }
    let failure = refused(client.call(seal("x", "hsm", DATA)));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid, "{failure}");
    assert!(
        failure.message.contains("only a TPM seals data"),
        "{failure}"
    );
    let failure = refused(client.call(Rotate { key: "disk".into() }));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    assert!(failure.message.contains("one version"), "{failure}");
    let export = Export {
        key: "disk".into(),
        version: None,
        token: None,
    };
    let failure = refused(client.call(export));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid, "{failure}");
    assert!(failure.message.contains("sealed data"), "{failure}");
    let failure = refused(client.call(sign("disk", b"message")));
    assert_eq!(failure.code, ErrorCode::WrongPurpose, "{failure}");
    let wrong = Create {
        token: Some("chip".into()),
        ..create("x", Purpose::Seal, KeyType::Data)
    };
    let failure = refused(client.call(wrong));
    assert!(failure.hint.unwrap().contains("keyward seal"));
    daemon.create_on("chip", "signer");
    let failure = refused(client.call(unseal("signer")));
    assert_eq!(failure.code, ErrorCode::WrongPurpose, "{failure}");
    let said = daemon.cli_fails(&["seal", "x", "--token", "chip"], &[7; 129]);
    assert!(said.contains("more than 128 bytes"), "{said}");
    assert_eq!(daemon.tpm("chip").key_files().len(), 2);
}

#[test]
fn sealed_data_that_is_bound_waits_for_an_approval_when_pcrs_change() {
    let daemon = start(TokenSetup::tpm("chip"));
    daemon.create_on("hsm", "rescue");
    let arguments = ["seal", "disk", "--token", "chip", "--pcr", "11,7"];
    let said = daemon.cli_fails(&arguments, DATA);
    assert!(said.contains("--recovery-key"), "{said}");
    let recovery = ["--recovery-key", "rescue"];
    let shown = daemon.cli_with(&[arguments.as_slice(), &recovery].concat(), DATA);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("PCRs 7,11; recovery key"), "{shown}");
    assert_eq!(daemon.cli(&["unseal", "disk"]), DATA);
    let what = format!("11:sha256={}", "5a".repeat(32));
    let tcti = daemon.tpm("chip").proxy().tcti();
    assert!(tpm2(&tcti, "tpm2_pcrextend", &[&what]).status.success());
    let failure = refused(daemon.client().call(unseal("disk")));
    assert_eq!(failure.code, ErrorCode::PcrMismatch, "{failure}");
    daemon.cli(&["key", "reseal", "disk", "--yes"]);
    assert_eq!(daemon.cli(&["unseal", "disk"]), DATA);
    let look = Reseal {
        key: "disk".into(),
        state: None,
        drop_old: false,
    };
    assert!(daemon.client().call(look).unwrap().places[0].approved);
}

#[test]
fn a_backup_brings_sealed_data_back_on_the_same_tpm() {
    for setup in [TokenSetup::tpm("chip"), TokenSetup::tpm_without_pin("chip")] {
        let mut daemon = start(setup);
        daemon.cli_with(&["seal", "disk", "--token", "chip"], DATA);
        let document = backup(&mut daemon.client());
        let holds = |bytes: &[u8]| document.windows(bytes.len()).any(|part| part == bytes);
        assert!(holds(b"TSS2 PRIVATE KEY") && !holds(DATA));
        daemon.terminate();
        fs::remove_dir_all(daemon.state()).unwrap();
        daemon.start_again();
        daemon.wait_for_token("chip", LoginState::Unlocked);
        restore(&daemon, &document, false).unwrap();
        let enable = || Enable { key: "disk".into() };
        let enabled = || daemon.client().call(enable()).is_ok();
        assert!(wait_for(enabled, PATIENCE), "{}", daemon.stderr());
        let given = || daemon.client().call(unseal("disk"));
        let is_back = || given().is_ok_and(|given| given.data.expose() == DATA);
        assert!(wait_for(is_back, PATIENCE), "{}", daemon.stderr());
    }
}

#[test]
fn a_rescan_finds_sealed_data_again() {
    let mut daemon = start(TokenSetup::tpm_without_pin("chip"));
    daemon.cli_with(&["seal", "disk", "--token", "chip"], DATA);
    daemon.terminate();
    for file in ["registry.db", "registry.db-wal"] {
        let _ = fs::remove_file(daemon.state().join(file));
    }
    daemon.start_again();
    daemon.cli(&["accept-registry", "--yes"]);
    daemon.wait_for_token("chip", LoginState::Unlocked);
    let found = daemon.cli(&["token", "rescan", "chip", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    let key = found["recovered"][0]["key"].as_str().unwrap().to_owned();
    assert_eq!(found["recovered"][0]["purpose"], "seal");
    daemon.cli(&["key", "enable", &key]);
    assert_eq!(daemon.cli(&["unseal", &key]), DATA);
}
