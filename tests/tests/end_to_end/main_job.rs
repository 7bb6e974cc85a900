//! The main job with the shipped command line, checked by a plain `openssl`.

use std::{fs, path::PathBuf, process::Command};

use keyward_client::protocol::KeyType;
use keyward_tests::{Daemon, Setup, openssl, wait_for_some};
use serde_json::Value;

#[track_caller]
fn create(daemon: &Daemon, name: &str, purpose: &str, kind: &str, more: &[&str]) {
    let arguments = ["key", "create", name, "--purpose", purpose, "--type", kind];
    daemon.cli(&[&arguments, more].concat());
}

/// Writes the public key of a key into a file of the site, PEM.
#[track_caller]
fn public(daemon: &Daemon, key: &str) -> PathBuf {
    let file = daemon.dir().join(format!("{key}.public"));
    fs::write(&file, daemon.cli(&["key", "public", key])).unwrap();
    file
}

#[track_caller]
fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    serde_json::from_slice(&daemon.cli(arguments)).expect("JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_message_is_signed_with_a_p256_key_and_openssl_verifies_it() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "release", "sign", "p256", &[]);
    let message = vec![0x5a; 60_000];
    let signature = daemon.cli_with(&["sign", "release"], &message);
    let public = public(&daemon, "release");
    openssl::verify_ecdsa(&public, "sha256", &message, &signature).unwrap();
    openssl::verify_ecdsa(&public, "sha256", b"another", &signature).unwrap_err();
}

#[test]
fn a_file_of_any_size_is_signed_in_parts_or_by_its_digest_where_the_key_allows_that() {
    let daemon = Daemon::start(Setup::new());
    create(
        &daemon,
        "release",
        "sign",
        "p384",
        &["--format", "raw,digest"],
    );
    create(&daemon, "raw-only", "sign", "p384", &[]);
    let message = vec![0xa5; 1_000_000];
    for key in ["release", "raw-only"] {
        let signature = daemon.cli_with(&["sign", key], &message);
        let public = public(&daemon, key);
        openssl::verify_ecdsa(&public, "sha384", &message, &signature).unwrap();
    }
    let digest = keyward_tests::process::run_with(
        Command::new("openssl").args(["dgst", "-sha384", "-binary"]),
        &message,
    );
    let digest = hex(&digest.stdout);
    let signature = daemon.cli(&["sign", "release", "--digest", &digest]);
    let public = public(&daemon, "release");
    openssl::verify_ecdsa(&public, "sha384", &message, &signature).unwrap();
    let said = daemon.cli_fails(&["sign", "raw-only", "--digest", &digest], b"");
    assert!(said.contains("signs raw, not digest"), "{said}");
    let said = daemon.cli_fails(&["sign", "release", "--digest", &digest[2..]], b"");
    assert!(said.contains("47 bytes"), "{said}");
}

#[test]
fn rsa_signs_pss_and_pkcs1_and_openssl_verifies_both() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "k", "sign", "rsa2048", &[]);
    let public = public(&daemon, "k");
    let pss = daemon.cli_with(&["sign", "k"], b"message");
    openssl::verify_pss(&public, "sha256", b"message", &pss).unwrap();
    let pkcs1 = daemon.cli_with(&["sign", "k", "--algorithm", "RS256"], b"message");
    openssl::verify_pkcs1(&public, "sha256", b"message", &pkcs1).unwrap();
}

#[test]
fn ed25519_signs_where_the_token_has_it() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "k", "sign", "ed25519", &[]);
    let signature = daemon.cli_with(&["sign", "k"], b"message");
    openssl::verify_ed25519(&public(&daemon, "k"), b"message", &signature).unwrap();
}

#[test]
fn verify_says_yes_to_a_good_signature_and_no_to_a_bad_one() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "k", "sign", "p256", &[]);
    let file = daemon.dir().join("signature");
    let file = file.to_str().unwrap();
    for encoding in ["der", "raw"] {
        let encoding = ["--encoding", encoding];
        let signature = daemon.cli_with(&[&["sign", "k"], &encoding[..]].concat(), b"message");
        fs::write(file, &signature).unwrap();
        let verify = [&["verify", "k", "--signature", file], &encoding[..]].concat();
        daemon.cli_with(&verify, b"message");
        let output = daemon.cli_output(&verify, b"another message");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn what_openssl_wraps_the_token_unwraps_also_with_a_label() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "inbox", "unwrap", "rsa3072", &[]);
    let public = public(&daemon, "inbox");
    for length in [0, 1, 32, 384 - 66] {
        let secret = vec![7; length];
        let wrapped = openssl::encrypt_oaep_sha256(&public, &secret).unwrap();
        assert_eq!(daemon.cli_with(&["unwrap", "inbox"], &wrapped), secret);
    }
    let wrapped = openssl::encrypt_oaep(&public, "sha256", b"a label", b"secret").unwrap();
    let labelled = ["unwrap", "inbox", "--label", "a label"];
    assert_eq!(daemon.cli_with(&labelled, &wrapped), b"secret");
    let sha1 = openssl::encrypt_oaep(&public, "sha1", b"", b"secret").unwrap();
    let with_sha1 = ["unwrap", "inbox", "--algorithm", "RSAES-OAEP-SHA1"];
    assert_eq!(daemon.cli_with(&with_sha1, &sha1), b"secret");
    let output = daemon.cli_output(&["unwrap", "inbox"], &wrapped);
    assert_eq!(
        output.status.code(),
        Some(1),
        "without its label it does not open"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn an_ecdh_secret_is_the_same_on_both_sides_raw_and_through_hkdf() {
    let daemon = Daemon::start(Setup::new());
    for (kind, curve) in [("p256", "P-256"), ("p384", "P-384")] {
        create(&daemon, kind, "agree", kind, &[]);
        let ours = public(&daemon, kind);
        let at = |name: &str| daemon.dir().join(format!("{kind}-{name}"));
        openssl::generate_ec(curve, &at("peer.key")).unwrap();
        openssl::write_public(&at("peer.key"), &at("peer.pem")).unwrap();
        let z = openssl::derive(&at("peer.key"), &ours).unwrap();
        let peer = at("peer.pem");
        let ecdh = ["ecdh", kind, "--peer", peer.to_str().unwrap()];
        assert_eq!(daemon.cli(&[&ecdh[..], &["--raw"]].concat()), z);
        for hash in ["sha256", "sha384"] {
            let more = [
                "--hkdf", hash, "--length", "80", "--salt", "0a0b0c", "--info", "what for",
            ];
            let derived = daemon.cli(&[&ecdh[..], &more].concat());
            let mut kdf = openssl::command("kdf");
            kdf.args([
                "-binary",
                "-keylen",
                "80",
                "-kdfopt",
                &format!("digest:{hash}"),
            ]);
            kdf.args(["-kdfopt", &format!("hexkey:{}", hex(&z))]);
            kdf.args([
                "-kdfopt",
                "hexsalt:0a0b0c",
                "-kdfopt",
                "info:what for",
                "HKDF",
            ]);
            assert_eq!(derived, openssl::run(&mut kdf).unwrap(), "{kind} {hash}");
        }
    }
}

#[test]
fn random_bytes_come_from_the_token() {
    let daemon = Daemon::start(Setup::new());
    let [first, second] = [0, 1].map(|_| daemon.cli(&["random", "32"]));
    assert_eq!((first.len(), second.len()), (32, 32));
    assert_ne!(first, second);
    let digits = daemon.cli(&["random", "8", "--hex"]);
    assert_eq!(digits.len(), 17);
}

#[test]
fn a_public_key_is_read_by_openssl_and_ssh_keygen() {
    let daemon = Daemon::start(Setup::new());
    for kind in ["p256", "p384", "rsa2048", "ed25519"] {
        create(&daemon, kind, "sign", kind, &[]);
        let der = openssl::public_der(&public(&daemon, kind)).expect("openssl reads the PEM");
        assert_eq!(der, daemon.cli(&["key", "public", kind, "--format", "der"]));
        let file = daemon.dir().join(format!("{kind}.ssh"));
        fs::write(
            &file,
            daemon.cli(&["key", "public", kind, "--format", "ssh"]),
        )
        .unwrap();
        let output = Command::new("ssh-keygen").arg("-lf").arg(&file).output();
        match output {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            // It is in a package of its own, which the tests can do without.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        let jwk = json(&daemon, &["key", "public", kind, "--format", "jwk"]);
        assert!(["EC", "RSA", "OKP"].contains(&jwk["kty"].as_str().unwrap()));
        let cose = daemon.cli(&["key", "public", kind, "--format", "cose"]);
        let parsed = keyward_client::key_format::parse(&cose).unwrap();
        assert_eq!(keyward_client::key_format::to_der(&parsed).unwrap(), der);
        assert_eq!(parsed.key_type(), KeyType::from_name(kind));
    }
}

#[test]
fn a_key_has_one_purpose() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "signer", "sign", "p256", &[]);
    create(&daemon, "inbox", "unwrap", "rsa2048", &[]);
    let peer = public(&daemon, "signer");
    let tries: [&[&str]; 3] = [
        &["sign", "inbox"],
        &["unwrap", "signer"],
        &["ecdh", "signer", "--raw", "--peer", peer.to_str().unwrap()],
    ];
    for arguments in tries {
        let output = daemon.cli_output(arguments, b"message");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(said.contains("purpose is"), "{said}");
    }
    let said = daemon.cli_fails(
        &[
            "key",
            "create",
            "x",
            "--purpose",
            "agree",
            "--type",
            "rsa2048",
        ],
        b"",
    );
    assert!(said.contains("can't agree"), "{said}");
}

#[test]
fn keys_are_listed_shown_and_destroyed() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "release", "sign", "p256", &["--tag", "owner=me"]);
    create(&daemon, "inbox", "unwrap", "rsa2048", &[]);
    let said = daemon.cli_fails(
        &[
            "key",
            "create",
            "inbox",
            "--purpose",
            "sign",
            "--type",
            "p256",
        ],
        b"",
    );
    assert!(said.contains("inbox"), "{said}");
    let list = json(&daemon, &["key", "list", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let key = json(&daemon, &["key", "show", "release", "--json"]);
    let placement = &key["versions"][0]["placements"][0];
    for fact in ["local", "always_sensitive", "never_extractable"] {
        assert_eq!(placement[fact], true, "{key:#}");
    }
    let status = json(&daemon, &["status", "--json"]);
    assert_eq!(status["tokens"][0]["login"], "unlocked");
    assert_eq!(status["keys"], 2);
    daemon.cli(&["key", "destroy", "release", "--now", "--yes"]);
    let output = daemon.cli_output(&["sign", "release"], b"message");
    assert_eq!(output.status.code(), Some(5), "the alias is free");
    create(&daemon, "release", "sign", "p384", &[]);
    daemon.cli_with(&["sign", "release"], b"message");
}

#[test]
fn a_token_is_locked_and_unlocked() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "k", "sign", "p256", &[]);
    daemon.cli(&["lock"]);
    let output = daemon.cli_output(&["sign", "k"], b"message");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("hint: keyward unlock main"), "{said}");
    daemon.cli_with(
        &["unlock", "--pin-file", "-"],
        daemon.hsm("main").pin().as_bytes(),
    );
    daemon.cli_with(&["sign", "k"], b"message");
    daemon.cli(&["lock", "main"]);
    daemon.cli(&["unlock", "main", "--from-source"]);
    daemon.cli_with(&["sign", "k"], b"message");
}

#[test]
fn after_the_worker_was_killed_the_next_request_works() {
    let daemon = Daemon::start(Setup::new());
    create(&daemon, "k", "sign", "p256", &[]);
    daemon.kill_worker("main");
    daemon.cli_with(&["sign", "k"], b"message");
    let restarts = || {
        let status = json(&daemon, &["status", "--json"]);
        status["tokens"][0]["restarts"].as_u64().filter(|n| *n == 1)
    };
    assert!(wait_for_some(restarts, keyward_tests::PATIENCE).is_some());
}

#[test]
fn without_an_agent_the_error_says_what_to_type() {
    let site = Setup::new().build();
    let output = keyward_tests::process::run_with(site.keyward().arg("status"), b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.starts_with("keyward: error: ") && said.contains("hint: "),
        "{said}"
    );
}
