//! Nothing secret is in any log, at any level.

use keyward_client::protocol::operation::{
    ChangePin, ChangePuk, Ecdh, GetPublicKey, NewManagementKey, UnblockPin, Unwrap,
};

use super::*;

const NEW_PIN: &str = "73916482";
const NEWEST_PIN: &str = "84027593";
const WRONG_PIN: &str = "91638507";
const NEW_PUK: &str = "50917283";
/// The PUK of the factory is part of many a number.
const PUK: &str = "12345678";
const PLAINTEXT: &[u8] = b"\xd1\x5e\xa5\xed\xfa\xca\xde\x0d\xec\x0d\xed\xbe\xad";
/// Printed information, with the management key in it.
const PRINTED: u32 = 0x5f_c109;

/// The forms in which a program that is not careful writes bytes.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = |format: fn(&u8) -> String, between: &str| {
        let digits: Vec<_> = secret.iter().map(format).collect();
        digits.join(between).into_bytes()
    };
    vec![
        secret.to_vec(),
        hex(|b| format!("{b:02x}"), ""),
        hex(|b| format!("{b:02X}"), ""),
        hex(|b| format!("{b:02x}"), " "),
        hex(|b| format!("{b:02X}"), " "),
        hex(|b| format!("{b:02x}"), ":"),
        hex(|b| format!("0x{b:02x}"), ", "),
        hex(|b| format!("{b:x}"), ", "),
        hex(|b| format!("{b}"), ","),
        hex(|b| format!("{b}"), ", "),
        hex(|b| format!("{b},\n   "), " "),
        secret.escape_ascii().to_string().into_bytes(),
    ]
}

#[track_caller]
fn assert_without(what: &str, bytes: &[u8], secrets: &[(&str, Vec<u8>)]) {
    for (name, secret) in secrets {
        assert!(secret.len() >= 8, "{name} would be found anywhere");
        for form in forms(secret) {
            let found = bytes.windows(form.len()).any(|window| window == form);
            assert!(!found, "{name} is in {what}");
        }
    }
}

/// Every file below the state folder of the site, and what the daemon and its workers wrote.
fn written(daemon: &Daemon) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("stderr".to_owned(), daemon.stderr().into_bytes())];
    let mut folders = vec![daemon.state()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    all.push((path.display().to_string(), bytes));
                }
            }
        }
    }
    all
}

#[test]
fn nothing_secret_is_written_anywhere_at_the_most_talkative_level() {
    let site = Setup::new()
        .token(TokenSetup::piv(CARD).pin(Pin::Ask))
        .build();
    site.edit_config("log = \"debug\"", "log = \"trace\"");
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token(CARD, LoginState::Locked);
    let mut client = daemon.client();
    unlock(&daemon, WRONG_PIN).unwrap_err();
    unlock_with(&daemon, PIV_PIN, true).expect("the right one");
    let token = || Some(CARD.to_owned());
    let change = ChangePin {
        token: token(),
        old: secret(PIV_PIN),
        new: secret(NEW_PIN),
        spend_withheld_try: true,
    };
    client.call(change).expect("another PIN");
    let change = ChangePuk {
        token: token(),
        old: secret(PUK),
        new: secret(NEW_PUK),
        spend_withheld_try: false,
    };
    client.call(change).expect("another PUK");
    let renew = NewManagementKey { token: token() };
    client.call(renew).expect("another management key");
    daemon.create("agree", Purpose::Agree, KeyType::P256);
    daemon.create("unwrap", Purpose::Unwrap, KeyType::Rsa2048);
    let public = GetPublicKey {
        key: "agree".to_owned(),
        version: None,
    };
    let agree = Ecdh {
        key: "agree".to_owned(),
        peer: client.call(public).expect("a key").cose_key,
        kdf: None,
        version: None,
    };
    let agreed = client.call(agree).expect("a secret").secret;
    let wrapped = openssl::encrypt_oaep_sha256(&daemon.public_file("unwrap"), PLAINTEXT);
    let unwrap = Unwrap {
        key: "unwrap".to_owned(),
        algorithm: None,
        ciphertext: wrapped.expect("wrapped").into(),
        label: None,
        version: None,
    };
    let opened = client.call(unwrap).expect("it opens");
    assert_eq!(opened.plaintext.expose(), PLAINTEXT);
    let card = daemon.card(CARD).card();
    let printed = card.object(PRINTED).expect("a management key");
    let unblock = UnblockPin {
        token: token(),
        puk: secret(NEW_PUK),
        new: secret(NEWEST_PIN),
        spend_withheld_try: false,
    };
    client.call(unblock).expect("another PIN again");
    unlock(&daemon, NEWEST_PIN).expect("the newest");
    let secrets = [
        ("a wrong PIN", WRONG_PIN.as_bytes().to_vec()),
        ("the PIN", NEW_PIN.as_bytes().to_vec()),
        ("the newest PIN", NEWEST_PIN.as_bytes().to_vec()),
        ("the PUK", NEW_PUK.as_bytes().to_vec()),
        ("the management key", printed[4..].to_vec()),
        ("a plaintext", PLAINTEXT.to_vec()),
        ("an agreed secret", agreed.expose().to_vec()),
    ];
    let written = written(&daemon);
    assert!(written.iter().any(|(name, _)| name.ends_with(".jsonl")));
    for (name, bytes) in &written {
        assert_without(name, bytes, &secrets);
    }
    // What is no secret is there: it did write.
    assert!(daemon.stderr().contains("DEBUG"), "{}", daemon.stderr());
    assert_sound(&daemon, CARD);
}
