//! What a verifier is told about the key of a PIV card.

use std::path::Path;
use std::process::{Command, Output};

use keyward_attestation::chain;
use keyward_protocol::attestation::{Bundle, Document, PivStatement, Statement};
use keyward_virtual_piv::{Card, Model, Terminal};

use super::KEYWARD;

const NONCE: [u8; 16] = [7; 16];
const NONCE_DIGITS: &str = "07070707070707070707070707070707";

/// A key in slot 9a of a new card, which wants PIN and touch each time; its bundle, and the root.
fn files(folder: &Path) {
    let terminal = Terminal::new(&Card::new(Model::YubiKey57, 12_345_678));
    terminal.manage().unwrap();
    let template = [0xac, 9, 0x80, 1, 0x11, 0xaa, 1, 3, 0xab, 1, 2];
    terminal.send(0x47, 0, 0x9a, &template).unwrap();
    let (certificate, _) = terminal.send(0xf9, 0x9a, 0, &[]).unwrap();
    let object = [0x5c, 3, 0x5f, 0xff, 0x01];
    let (object, _) = terminal.send(0xcb, 0x3f, 0xff, &object).unwrap();
    // 53 LL LL 70 LL LL, the certificate, and 71 01 00 FE 00.
    let certificate_of_card = object[8..object.len() - 5].to_vec();
    let key = chain::key_of(&certificate).unwrap();
    let statement = Statement::Piv(PivStatement {
        certificate: certificate.into(),
        chain: vec![certificate_of_card.into()],
    });
    let bundle = Bundle::new(statement, NONCE.to_vec(), key);
    std::fs::write(folder.join("bundle"), bundle.to_document().unwrap()).unwrap();
    let root = der::pem::encode_string(
        "CERTIFICATE",
        der::pem::LineEnding::LF,
        &Card::attestation_root(),
    );
    std::fs::write(folder.join("root.pem"), root.unwrap()).unwrap();
}

fn verify(folder: &Path, nonce: &str, more: &[&str]) -> Output {
    Command::new(KEYWARD)
        .current_dir(folder)
        .args(["attest", "verify", "bundle", "--nonce", nonce])
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn a_card_below_a_root_is_hardware_and_not_fresh() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let shown = verify(folder.path(), NONCE_DIGITS, &["--piv-roots", "root.pem"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{text}");
    let mut lines = text.lines();
    let verdict = "hardware: the key was made in a PIV card and can't leave it";
    assert_eq!(lines.next(), Some(verdict));
    assert_eq!(lines.next(), Some("key          P-256"));
    assert!(lines.next().unwrap().starts_with("thumbprint   "));
    let rest: Vec<_> = lines.collect();
    let wanted = [
        "firmware     5.7.1",
        "card         12345678",
        "PIN          always",
        "touch        always",
        "form         USB-A keychain",
        "bound by     a certificate of the attestation key",
        "fresh        no: a card signs no nonce; have the key sign something that you choose",
    ];
    assert_eq!(rest, wanted);

    let roots = ["--piv-roots", "root.pem", "--json"];
    let shown = verify(folder.path(), NONCE_DIGITS, &roots);
    let value: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(value["verdict"], "hardware");
    assert_eq!(value["token"], "piv");
    assert_eq!(value["fresh"], false);
    assert_eq!(value["firmware"], "5.7.1");
    assert_eq!(value["serial"], 12_345_678);
    assert_eq!(value["pin_policy"], "always");
    assert_eq!(value["touch_policy"], "always");
    assert_eq!(value["form_factor"], "USB-A keychain");
}

#[test]
fn a_card_without_roots_is_not_bound() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let shown = verify(folder.path(), NONCE_DIGITS, &[]);
    assert_eq!(shown.status.code(), Some(1));
    let text = String::from_utf8(shown.stdout).unwrap();
    let verdict = "not bound: no roots of PIV cards were given, so all of this could have been made \
                   without a PIV card; give the certificates of its manufacturer by --piv-roots";
    assert_eq!(text.lines().next(), Some(verdict));
    // Roots of something else are none of cards.
    let shown = verify(folder.path(), NONCE_DIGITS, &["--ak-roots", "root.pem"]);
    assert_eq!(shown.status.code(), Some(1));
}

#[test]
fn the_bundle_of_a_card_for_another_nonce_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let other = NONCE_DIGITS.replace('7', "8");
    let shown = verify(folder.path(), &other, &["--piv-roots", "root.pem"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(shown.stdout.is_empty());
    let text = String::from_utf8(shown.stderr).unwrap();
    assert!(text.contains("it was made for another nonce"), "{text}");
}
