//! Keys on two tokens: where one can't, the other serves.

use keyward_client::{
    Client, Error,
    protocol::{
        Algorithm, ErrorCode, KeyType, Purpose, SecretBytes,
        operation::{
            Decrypt, Ecdh, Encrypt, GetPublicKey, Import, KeyMaterial, Lock, LoginState, Mac,
            Unwrap,
        },
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, openssl,
    process::pid,
    request::{refused, sign},
    wait_for,
};
use rustix::process::{Signal, kill_process};

const CKR_DEVICE_ERROR: u64 = 0x30;

/// A daemon with two tokens, each behind a fault module.
#[track_caller]
fn two_tokens() -> Daemon {
    let [a, b] = ["a", "b"].map(|name| TokenSetup::new(name).fault());
    let daemon = Daemon::start(Setup::new().token(a).token(b));
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    daemon
}

#[track_caller]
fn import(daemon: &Daemon, alias: &str, purpose: Purpose, material: KeyMaterial) {
    let made = daemon.client().call(Import {
        purpose,
        material,
        alias: Some(alias.into()),
        tokens: Some(vec!["a".into(), "b".into()]),
        formats: None,
        tags: None,
        existing: None,
        bind: None,
        piv: None,
    });
    made.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()));
}

fn secret(key_type: KeyType) -> KeyMaterial {
    let length = key_type.secret_length().unwrap();
    KeyMaterial::Secret(key_type, SecretBytes::copy_from(&vec![7; length]))
}

#[track_caller]
fn pkcs8(daemon: &Daemon, arguments: &[&str]) -> KeyMaterial {
    let file = daemon.dir().join("private.pem");
    let mut generate = openssl::command("genpkey");
    openssl::run(generate.args(arguments).arg("-out").arg(&file)).expect("a private key");
    let mut convert = openssl::command("pkcs8");
    convert.args(["-topk8", "-nocrypt", "-outform", "DER", "-in"]);
    let der = openssl::run(convert.arg(&file)).expect("its PKCS#8");
    KeyMaterial::Pkcs8(SecretBytes::copy_from(&der))
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

fn mac(key: &str) -> Mac {
    Mac {
        key: key.into(),
        message: SecretBytes::copy_from(b"message"),
    }
}

/// The tokens of the records of an operation, oldest first, with what is said of others.
fn tokens(daemon: &Daemon, operation: &str) -> Vec<(String, String)> {
    let records = daemon.audit();
    let uses = records.iter().filter(|r| r["op"] == operation);
    uses.map(|record| {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        (text("token"), text("detail"))
    })
    .collect()
}

fn pair(token: &str, detail: &str) -> (String, String) {
    (token.into(), detail.into())
}

#[test]
fn the_other_token_serves_where_the_first_is_locked_or_dies() {
    let daemon = two_tokens();
    import(&daemon, "k", Purpose::Mac, secret(KeyType::HmacSha256));
    let mut client = daemon.client();
    let tag = client.call(mac("k")).expect("a code").tag;
    daemon.fault("a").set("C_Sign", &Fault::Crash);
    assert_eq!(client.call(mac("k")).expect("from the spare").tag, tag);
    daemon.wait_for_token("a", LoginState::Unlocked);
    client
        .call(Lock {
            token: Some("a".into()),
        })
        .expect("locked");
    assert_eq!(client.call(mac("k")).expect("from the spare").tag, tag);
    client
        .call(Lock {
            token: Some("b".into()),
        })
        .expect("locked");
    let failure = refused(client.call(mac("k")));
    assert_eq!(failure.code, ErrorCode::TokenLocked);
    assert_eq!(failure.hint.as_deref(), Some("keyward unlock a"));
    let expected = [
        pair("a", ""),
        pair("b", "token-failed on a"),
        pair("b", ""),
        pair("a", "token-locked on a, token-locked on b"),
    ];
    assert_eq!(tokens(&daemon, "mac"), expected);
}

#[test]
fn a_worker_that_is_killed_in_the_middle_costs_a_deterministic_use_nothing() {
    let daemon = two_tokens();
    import(&daemon, "k", Purpose::Mac, secret(KeyType::HmacSha256));
    daemon.fault("a").set("C_Sign", &Fault::Hang);
    let before = daemon.fault("a").calls("C_Sign");
    let mut client = daemon.client();
    std::thread::scope(|scope| {
        let using = scope.spawn(move || client.call(mac("k")));
        let begun = || daemon.fault("a").calls("C_Sign") > before;
        assert!(wait_for(begun, PATIENCE));
        kill_process(pid(daemon.worker_pid("a")), Signal::KILL).expect("the worker runs");
        using.join().unwrap().expect("from the spare");
    });
    daemon.fault("a").clear("C_Sign");
}

#[test]
fn a_signature_that_was_begun_is_not_begun_again() {
    let daemon = two_tokens();
    import(&daemon, "k", Purpose::Sign, pkcs8(&daemon, &P256));
    let mut client = daemon.client();
    client.call(sign("k", b"message")).expect("a signature");
    daemon
        .fault("a")
        .set("C_Sign", &Fault::ErrorOnce(CKR_DEVICE_ERROR));
    let before = daemon.fault("b").calls("C_Sign");
    let failure = refused(client.call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::TokenFailed);
    assert_eq!(daemon.fault("b").calls("C_Sign"), before);
    // What was not begun is done by the spare.
    client
        .call(Lock {
            token: Some("a".into()),
        })
        .expect("locked");
    client.call(sign("k", b"message")).expect("from the spare");
    assert_eq!(daemon.fault("b").calls("C_Sign"), before + 1);
}

#[test]
fn each_deterministic_use_goes_to_the_spare() {
    let daemon = two_tokens();
    import(&daemon, "aes", Purpose::Encrypt, secret(KeyType::Aes256));
    import(&daemon, "rsa", Purpose::Unwrap, pkcs8(&daemon, &RSA));
    import(&daemon, "point", Purpose::Agree, pkcs8(&daemon, &P256));
    let mut client = daemon.client();
    let made = client.call(Encrypt {
        key: "aes".into(),
        plaintext: SecretBytes::copy_from(b"secret"),
        context: None,
        algorithm: None,
    });
    let blob = made.expect("encrypted").ciphertext;
    let public = daemon.public_file("rsa");
    let wrapped = openssl::encrypt_oaep_sha256(&public, b"secret").unwrap();
    let peer = client.call(GetPublicKey {
        key: "point".into(),
        version: None,
    });
    let peer = peer.unwrap().cose_key;
    let decrypt = |client: &mut Client| {
        let decrypt = Decrypt {
            ciphertext: blob.clone(),
            key: None,
            context: None,
        };
        client.call(decrypt).map(|opened| opened.plaintext)
    };
    let unwrap = |client: &mut Client| {
        let unwrap = Unwrap {
            key: "rsa".into(),
            algorithm: None,
            ciphertext: wrapped.clone().into(),
            label: None,
            version: None,
        };
        client.call(unwrap).map(|opened| opened.plaintext)
    };
    let ecdh = |client: &mut Client| {
        let ecdh = Ecdh {
            key: "point".into(),
            peer: peer.clone(),
            kdf: None,
            version: None,
        };
        client.call(ecdh).map(|agreed| agreed.secret)
    };
    type Use<'u> = &'u dyn Fn(&mut Client) -> Result<SecretBytes, Error>;
    let uses: [(&str, Use<'_>); 3] = [
        ("C_Decrypt", &decrypt),
        ("C_Decrypt", &unwrap),
        ("C_DeriveKey", &ecdh),
    ];
    for (call, one) in uses {
        let right = one(&mut client).expect("from the first");
        daemon.fault("a").set(call, &Fault::Crash);
        let before = daemon.fault("a").calls(call);
        assert_eq!(one(&mut client).expect("from the spare"), right);
        assert_eq!(daemon.fault("a").calls(call), before + 1, "{call}");
        daemon.wait_for_token("a", LoginState::Unlocked);
    }
}

#[test]
fn what_does_not_open_is_no_reason_to_ask_the_spare() {
    let daemon = two_tokens();
    import(&daemon, "rsa", Purpose::Unwrap, pkcs8(&daemon, &RSA));
    let before = daemon.fault("b").calls("C_Decrypt");
    let failure = refused(daemon.client().call(Unwrap {
        key: "rsa".into(),
        algorithm: Some(Algorithm::RsaOaepSha256),
        ciphertext: vec![1; 256].into(),
        label: None,
        version: None,
    }));
    assert_eq!(failure.code, ErrorCode::UnwrapFailed);
    assert_eq!(daemon.fault("b").calls("C_Decrypt"), before);
}
