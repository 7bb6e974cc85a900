//! Files through `keyward encrypt` and `decrypt`, with keys of each kind.

use keyward_client::protocol::operation::{Disable, Rotate};
use keyward_client::protocol::{KeyType, Purpose};
use keyward_tests::process::run_with;
use keyward_tests::{Daemon, Setup};

fn keyward(daemon: &Daemon, arguments: &[&str], input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let output = run_with(daemon.keyward().args(arguments), input);
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), output.stdout, stderr)
}

fn encrypt(daemon: &Daemon, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let (code, file, stderr) = keyward(daemon, &[&["encrypt"], arguments].concat(), input);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(file.starts_with(b"age-encryption.org/v1\n-> keyward "));
    file
}

#[test]
fn a_key_of_each_kind_opens_what_was_encrypted_for_it_also_after_rotations() {
    let daemon = Daemon::start(Setup::new());
    let plaintext: Vec<u8> = (0..700_000).map(|i: u32| (i / 5) as u8).collect();
    for (alias, key_type) in [
        ("aes", KeyType::Aes256),
        ("hpke", KeyType::P256),
        ("oaep", KeyType::Rsa2048),
    ] {
        daemon.create(alias, Purpose::Encrypt, key_type);
        let file = encrypt(
            &daemon,
            &["--to", alias, "--context", "volume=home"],
            &plaintext,
        );
        let key = alias.to_owned();
        daemon.client().call(Rotate { key }).unwrap();
        let open = ["decrypt", "--context", "volume=home"];
        let (code, came, stderr) = keyward(&daemon, &open, &file);
        assert_eq!(code, Some(0), "{alias}: {stderr}");
        assert!(came == plaintext, "{alias}");
        // Another context is told like anything else that does not open.
        for wrong in [&["decrypt"][..], &["decrypt", "--context", "volume=work"]] {
            let (code, came, stderr) = keyward(&daemon, wrong, &file);
            assert_eq!((code, came.len()), (Some(1), 0), "{alias}: {stderr}");
        }
    }
}

#[test]
fn another_key_opens_a_file_whose_first_key_is_disabled() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("first", Purpose::Encrypt, KeyType::Aes256);
    daemon.create("spare", Purpose::Encrypt, KeyType::P256);
    let file = encrypt(&daemon, &["--to", "first", "--to", "spare"], b"hello");
    let alone = encrypt(&daemon, &["--to", "first"], b"hello");
    let key = "first".to_owned();
    daemon.client().call(Disable { key }).unwrap();
    let (code, came, stderr) = keyward(&daemon, &["decrypt"], &file);
    assert_eq!((code, &*came), (Some(0), &b"hello"[..]), "{stderr}");
    let (code, came, stderr) = keyward(&daemon, &["decrypt"], &alone);
    assert_eq!((code, came.len()), (Some(7), 0), "{stderr}");
}
