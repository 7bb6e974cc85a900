//! A TPM behind keywardd: what it does when nothing goes wrong.

use std::thread;

use keyward_client::protocol::{
    ErrorCode, KeyType, Purpose, SecretBytes,
    operation::{Ecdh, LoginState, Mac, SignInput, Verify},
};
use keyward_tests::{
    Daemon, Setup, TPM_PIN, TokenSetup,
    request::{refused, sign},
    swtpm::{tpm2, wire::code},
};

fn setup() -> Setup {
    Setup::new().token(TokenSetup::tpm("main"))
}

/// Signs, and has the signature verified.
#[track_caller]
fn sign_and_verify(client: &mut keyward_client::Client, key: &str, message: &[u8]) {
    let made = client.call(sign(key, message));
    let made = made.unwrap_or_else(|error| panic!("{key}: {error:?}"));
    let verified = client.call(Verify {
        key: key.to_owned(),
        algorithm: None,
        input: SignInput::Message(message.to_vec()),
        signature: made.signature,
        version: None,
    });
    assert!(verified.expect("an answer").valid, "{key}");
}

#[test]
fn a_tpm_keeps_its_keys_over_a_restart() {
    let mut daemon = Daemon::start(setup());
    daemon.wait_for_token("main", LoginState::Unlocked);
    let status = daemon.token("main");
    assert_eq!(status.kind, "tpm");
    let identity = status.identity.unwrap();
    let read = tpm2(
        &daemon.tpm("main").proxy().tcti(),
        "tpm2_readpublic",
        &["-c", "0x81000001"],
    );
    let name = String::from_utf8(read.stdout).unwrap();
    let name = name.lines().find_map(|line| line.strip_prefix("name: "));
    assert!(identity.contains(name.unwrap()), "{identity}");
    assert!(daemon.tpm("main").key_files().is_empty());
    daemon.create_signer("k");
    assert_eq!(daemon.tpm("main").key_files().len(), 1);
    sign_and_verify(&mut daemon.client(), "k", b"before");
    daemon.restart();
    sign_and_verify(&mut daemon.client(), "k", b"after");
    assert_eq!(daemon.tpm("main").pins_sent(), 2, "one for each life");
}

#[test]
fn two_hundred_keys_serve_thirty_two_callers_in_any_order() {
    const KEYS: usize = 200;
    const CALLERS: usize = 32;
    let daemon = Daemon::start(setup());
    let mut client = daemon.client();
    for key in 0..KEYS {
        let made = keyward_tests::request::create(&name(key), Purpose::Sign, KeyType::P256);
        client.call(made).unwrap();
    }
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut client = daemon.client();
                // Each caller has an order of its own, in which neighbours are far from each other.
                let step = [7, 11, 13, 17, 19, 23, 29, 31][caller % 8];
                for turn in 0..25 {
                    let key = (caller * 37 + turn * step) % KEYS;
                    let message = format!("{caller} {turn}");
                    sign_and_verify(&mut client, &name(key), message.as_bytes());
                }
            });
        }
    });
    assert_eq!(daemon.token("main").restarts, 0, "{}", daemon.stderr());
}

fn name(key: usize) -> String {
    format!("k{key}")
}

#[test]
fn nothing_secret_passes_in_the_clear() {
    let daemon = Daemon::start(setup());
    daemon.create("agree", Purpose::Agree, KeyType::P256);
    daemon.create("peer", Purpose::Agree, KeyType::P256);
    let mut client = daemon.client();
    let public = |key: &str| {
        let described = daemon
            .client()
            .call(keyward_client::protocol::operation::GetPublicKey {
                key: key.to_owned(),
                version: None,
            });
        described.unwrap().cose_key
    };
    let peer = public("peer");
    let agreed = client.call(Ecdh {
        key: "agree".to_owned(),
        peer: peer.clone(),
        kdf: None,
        version: None,
    });
    let agreed = agreed.unwrap().secret;
    let proxy = daemon.tpm("main").proxy();
    assert_eq!(proxy.count(code::ECDH_ZGEN), 1);
    assert!(proxy.count(code::UNSEAL) > 0);
    // The proxy does see what passes: the point that was sent is no secret.
    let keyward_client::protocol::CoseKey::P256 { x, .. } = peer else {
        panic!("another type")
    };
    assert!(proxy.saw(&x) && !proxy.saw(agreed.expose()));
    assert!(!proxy.saw(TPM_PIN.as_bytes()));
    // What is sealed under the PIN: the harness made it of this byte.
    assert!(!proxy.saw(&[0x5a; 32]));
}

#[test]
fn what_a_tpm_has_not_is_said_with_what_there_is_instead() {
    let daemon = Daemon::start(setup());
    daemon.wait_for_token("main", LoginState::Unlocked);
    let create = [
        "key",
        "create",
        "x",
        "--purpose",
        "encrypt",
        "--token",
        "main",
    ];
    let said = daemon.cli_fails(&[create.as_slice(), &["--type", "aes256"]].concat(), b"");
    for words in [
        "can't make a key of type AES-256; it can make P-256",
        "a TPM has neither AES-GCM nor AES key wrap",
        "--purpose encrypt --type p256 --token main",
    ] {
        assert!(said.contains(words), "{said}");
    }
    daemon.cli(&[create.as_slice(), &["--type", "p256"]].concat());
    daemon.create("code", Purpose::Mac, KeyType::HmacSha256);
    let mac = |length| Mac {
        key: "code".to_owned(),
        message: SecretBytes::copy_from(&vec![7; length]),
    };
    daemon
        .client()
        .call(mac(1024))
        .expect("as long as it can be");
    let failure = refused(daemon.client().call(mac(1025)));
    assert_eq!(failure.code, ErrorCode::Invalid);
    assert!(failure.message.contains("digest"), "{failure}");
}
