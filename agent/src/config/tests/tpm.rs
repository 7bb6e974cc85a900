//! Tokens of kind tpm.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const TPM: &str = "[token.chip]\nkind = \"tpm\"\n";

#[test]
fn a_tpm_needs_no_more_than_its_kind() {
    let config = Case::new().load(TPM).unwrap();
    let token = config.tokens.get("chip").unwrap();
    assert_eq!(token.kind.name(), "tpm");
    let TokenKind::Tpm { tcti, keys } = &token.kind else {
        panic!("another kind")
    };
    assert_eq!(tcti.to_string(), "device:/dev/tpmrm0");
    assert_eq!(keys, Path::new("/home/ada/.local/state/keyward/tpm/chip"));
    assert_eq!((token.threads, token.sockets), (1, SocketKinds::None));
    assert_eq!(token.pin, PinSource::Ask);
}

#[test]
fn the_way_to_a_tpm_decides_its_sockets() {
    let case = Case::new();
    for (tcti, word, sockets) in [
        ("device:/dev/tpm0", "none", SocketKinds::None),
        ("tabrmd:bus_type=session", "unix", SocketKinds::Unix),
        ("swtpm:host=localhost,port=2321", "inet", SocketKinds::Inet),
    ] {
        let text = format!("state = \"/s\"\n{TPM}tcti = \"{tcti}\"\nthreads = 1\n");
        for text in [text.clone(), format!("{text}sockets = \"{word}\"\n")] {
            let config = case.load(&text).unwrap();
            let token = config.tokens.get("chip").unwrap();
            assert_eq!(token.sockets, sockets, "{text}");
            let TokenKind::Tpm { keys, .. } = &token.kind else {
                panic!("another kind")
            };
            assert_eq!(keys, Path::new("/s/tpm/chip"));
        }
    }
}

/// A line that is added to a TPM, and parts of what is said and hinted.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "tcti = \"swtpm:path=/run/x\"",
        "`path` is not known",
        "host=",
    ),
    ("tcti = \"mssim:\"", "`mssim`", "swtpm"),
    ("tcti = \"\"", "not the way to a TPM", "device:/dev/tpmrm0"),
    ("tcti = 1", "expected a string", ""),
    ("tcit = \"tabrmd:\"", "unknown field `tcit`", "`tcti`"),
    (
        "module = \"MODULE\"",
        "has no `module`",
        "kind = \"pkcs11\"",
    ),
    (
        "uri = \"pkcs11:token=a\"",
        "has no `uri`",
        "kind = \"pkcs11\"",
    ),
    ("threads = 2", "one thing at a time", "remove it"),
    ("threads = 0", "one thing at a time", ""),
    ("sockets = \"inet\"", "takes no socket", "`tcti` decides"),
    (
        "sockets = \"tcp\"",
        "unknown value `tcp`",
        "none or unix or inet",
    ),
];

#[test]
fn every_mistake_of_a_tpm_is_shown_in_its_place() {
    let case = Case::new();
    for (line, what, hint) in MISTAKES {
        let mistake = case.mistake(&format!("{TPM}{line}\n"));
        assert_eq!(mistake.line, 3, "{line}: {mistake}");
        assert!(mistake.what.contains(what), "{line}: {mistake}");
        let said = mistake.hint.clone().unwrap_or_default();
        assert!(said.contains(hint), "{line}: {mistake}");
    }
    for (tcti, sockets) in [
        ("swtpm:host=localhost,port=1", "none"),
        ("tabrmd:", "inet"),
        ("device:/dev/tpm0", "unix"),
    ] {
        let mistake = case.mistake(&format!(
            "{TPM}tcti = \"{tcti}\"\nsockets = \"{sockets}\"\n"
        ));
        assert_eq!((mistake.line, mistake.column), (4, 11), "{mistake}");
        assert!(
            mistake.what.contains("the way to this TPM takes"),
            "{mistake}"
        );
    }
    let mistake = case.mistake(&format!("{TOKEN}tcti = \"tabrmd:\"\n"));
    assert!(mistake.what.contains("has no `tcti`"), "{mistake}");
    let mistake = case.mistake(&TPM.replace("tpm", "tmp"));
    assert!(mistake.hint.unwrap().contains("`tpm`"));
}
