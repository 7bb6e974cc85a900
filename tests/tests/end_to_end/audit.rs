//! The log: a line for each request, an intent before each change, and never a secret.

use std::{fs, io::Write, path::Path, process::Command};

use keyward_client::protocol::{
    Algorithm, ErrorCode, KeyState, KeyType, Purpose, SecretBytes,
    operation::{
        Destroy, Disable, Ecdh, Kdf, List, Lock, LoginState, MarkCompromised, Random, Status,
        Unlock, Unwrap,
    },
};
use keyward_tests::{
    Daemon, Pin, Setup, Site, TokenSetup, openssl,
    request::{create, refused, sign},
    site::program,
};
use serde_json::Value;

/// Checks what holds for every log, and returns its records.
#[track_caller]
fn checked(daemon: &Daemon) -> Vec<Value> {
    let records = daemon.audit();
    let first = records[0]["seq"].as_u64().unwrap();
    for (number, record) in (first..).zip(&records) {
        assert_eq!(record["seq"].as_u64(), Some(number), "{record}");
        assert!(
            record["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
        let kind = record["kind"].as_str().unwrap();
        let tells = ["use", "read", "denied", "manage-outcome"].contains(&kind);
        assert!(
            if tells {
                record["outcome"].is_string()
            } else {
                kind != "manage-intent" || record["outcome"].is_null()
            },
            "{record}"
        );
        if let Some(intent) = record["intent"].as_u64() {
            assert!(intent < number, "an outcome before its intent: {record}");
            let intended = &records[usize::try_from(intent - first).unwrap()];
            assert_eq!(intended["kind"], "manage-intent");
            assert_eq!(intended["op"], record["op"]);
            assert_eq!(intended["key"], record["key"]);
        }
    }
    records
}

fn count(records: &[Value], kind: &str, op: &str) -> usize {
    let matching = records
        .iter()
        .filter(|r| r["kind"] == kind && r["op"] == op);
    matching.count()
}

#[test]
fn each_request_has_its_line_and_each_change_its_intent() {
    let mut daemon = Daemon::start(Setup::new());
    let key = daemon.create_signer("k");
    let mut client = daemon.client();
    for _ in 0..20 {
        client.call(sign("k", b"message")).unwrap();
    }
    refused(client.call(sign("nothing", b"message")));
    refused(client.call(create("k", Purpose::Sign, KeyType::P256)));
    for _ in 0..5 {
        client.call(List { after: None }).unwrap();
    }
    client
        .call(Destroy {
            key: "k".into(),
            now: true,
        })
        .unwrap();
    daemon.restart();
    let records = checked(&daemon);
    let count = |kind, op| count(&records, kind, op);
    assert_eq!(count("use", "sign"), 21);
    assert_eq!(
        (
            count("manage-intent", "create"),
            count("manage-outcome", "create")
        ),
        (1, 2)
    );
    assert_eq!(
        (
            count("manage-intent", "destroy"),
            count("manage-outcome", "destroy")
        ),
        (1, 1)
    );
    assert_eq!(count("read", "list"), 1, "once per connection");
    let signed = records
        .iter()
        .find(|record| record["op"] == "sign")
        .unwrap();
    assert_eq!(signed["key"], key.id);
    assert_eq!(signed["alg"], "ESP256");
    assert_eq!(signed["token"], "main");
    assert_eq!(signed["caller"]["pid"], std::process::id());
    // SHA-256 of the message, and not the message.
    let digest = "ab530a13e45914982b79f9b7e3fba994cfd1f3fb22f71cea1afbf02b460c6d1d";
    assert_eq!(signed["digest"], digest);
    assert_eq!(
        signed["caller"]["exe"],
        std::env::current_exe().unwrap().to_str().unwrap()
    );
}

#[test]
fn a_failure_names_the_record_that_the_log_has_of_it() {
    let daemon = Daemon::start(Setup::new());
    let failure = refused(daemon.client().call(sign("nothing", b"message")));
    let seq: u64 = failure.audit_id.unwrap().parse().unwrap();
    let records = checked(&daemon);
    let record = records.iter().find(|record| record["seq"] == seq).unwrap();
    assert_eq!(record["outcome"], "not-found");
}

/// Every form in which bytes could be written down by mistake.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<_> = secret.iter().map(u8::to_string).collect();
    let base64 = {
        let mut command = openssl::command("base64");
        command.arg("-A");
        let output = keyward_tests::process::run_with(&mut command, secret);
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().trim_end_matches('=').to_owned()
    };
    vec![
        secret.to_vec(),
        hex.to_uppercase().into(),
        hex.into(),
        base64.into(),
        list.join(", ").into(),
        list.join(",").into(),
    ]
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn no_secret_is_in_any_file_log_or_process_listing() {
    let main = TokenSetup::new("main")
        .pin(Pin::Ask)
        .line("remember_pin = true");
    let site = Setup::new().token(main).build();
    site.edit_config("log = \"debug\"", "log = \"trace\"");
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("main", LoginState::Locked);
    let pin = daemon.hsm("main").pin();
    let mut client = daemon.client();
    let unlock = |pin: &str| Unlock {
        token: None,
        pin: Some(SecretBytes::copy_from(pin.as_bytes())),
        spend_withheld_try: false,
    };
    refused(client.call(unlock("wrong-pin-1234")));
    client.call(unlock(pin)).unwrap();
    daemon.create("wrapper", Purpose::Unwrap, KeyType::Rsa2048);
    daemon.create("agreer", Purpose::Agree, KeyType::P256);
    daemon.create_signer("signer");

    let plaintext = b"the plaintext that nobody writes down";
    let message = b"the message that nobody writes down";
    let public = daemon.public_file("wrapper");
    let ciphertext = openssl::encrypt_oaep_sha256(&public, plaintext).unwrap();
    let unwrapped = client
        .call(Unwrap {
            key: "wrapper".into(),
            algorithm: None,
            ciphertext: ciphertext.into(),
            label: None,
            version: None,
        })
        .unwrap();
    assert_eq!(unwrapped.plaintext.expose(), plaintext);
    let peer = client
        .call(keyward_client::protocol::operation::GetPublicKey {
            key: "agreer".into(),
            version: None,
        })
        .unwrap()
        .cose_key;
    let ecdh = |kdf| Ecdh {
        key: "agreer".into(),
        peer: peer.clone(),
        kdf,
        version: None,
    };
    let raw = client.call(ecdh(None)).unwrap().secret;
    let derived = client
        .call(ecdh(Some(Kdf {
            algorithm: Algorithm::EcdhHkdfSha256,
            salt: None,
            info: None,
            length: 48,
        })))
        .unwrap()
        .secret;
    let random = client
        .call(Random {
            length: 32,
            token: None,
        })
        .unwrap()
        .bytes;
    client.call(sign("signer", message)).unwrap();
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);

    let mut places: Vec<(String, Vec<u8>)> = files(&daemon.state())
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    places.push(("stderr".into(), daemon.stderr().into()));
    for process in daemon.processes() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{process}/{file}");
            // Only root can read the environment of a process that can't be dumped.
            places.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
    assert!(places.len() > 5, "{places:?}");
    let secrets: [(&str, &[u8]); 7] = [
        ("the PIN", pin.as_bytes()),
        ("a wrong PIN", b"wrong-pin-1234"),
        ("the plaintext", plaintext),
        ("the message", message),
        ("the shared secret", raw.expose()),
        ("the derived secret", derived.expose()),
        ("random bytes", random.expose()),
    ];
    for (what, secret) in secrets {
        for form in forms(secret) {
            for (place, bytes) in &places {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "{what} is in {place}");
            }
        }
    }
}

/// `keywardd` with a small disk of its own for the state folder, that only it sees.
pub(super) fn on_small_disk(site: &Site, size: &str) -> Command {
    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command.arg("--mount");
        let can = std::process::Command::new("unshare")
            .args(["--mount", "true"])
            .output();
        if !can.is_ok_and(|output| output.status.success()) {
            // In a chroot, whose root is no mount to be made private.
            command.args(["--propagation", "unchanged"]);
        }
    } else {
        command.args(["--user", "--map-current-user", "--mount", "--keep-caps"]);
    }
    let script =
        format!("mount -t tmpfs -o size={size},mode=0700 tmpfs \"$1\" && shift && exec \"$@\"");
    command.args(["sh", "-c", &script, "sh"]).arg(site.state());
    command
        .arg(program("keywardd"))
        .arg("--config")
        .arg(site.config());
    command
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped());
    command
}

#[test]
fn on_a_full_disk_nothing_is_used_and_locking_still_works() {
    let main = TokenSetup::new("main").fault();
    let site = Setup::new().token(main).build();
    fs::create_dir(site.state()).unwrap();
    let command = on_small_disk(&site, "768k");
    let daemon = Daemon::start_with(site, command);
    daemon.create_signer("k");
    let mut client = daemon.client();
    let mut signatures = 0;
    let failure = loop {
        match client.call(sign("k", b"message")) {
            Ok(_) => signatures += 1,
            result => break refused(result),
        }
        assert!(signatures < 20_000, "the disk never fills");
    };
    assert_eq!(failure.code, ErrorCode::AuditUnavailable, "{failure}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("make room")));
    let used = daemon.fault("main").calls("C_Sign");
    assert_eq!(used, signatures, "what can't be recorded is not done");
    let made = refused(client.call(create("other", Purpose::Sign, KeyType::P256)));
    assert_eq!(made.code, ErrorCode::AuditUnavailable, "{made}");

    client.call(Status {}).expect("status works on a full disk");
    let disabled = client.call(Disable { key: "k".into() });
    let disabled = disabled.expect("disable works on a full disk");
    assert_eq!(disabled.state, KeyState::Suspended);
    let compromised = client.call(MarkCompromised { key: "k".into() });
    let compromised = compromised.expect("mark-compromised works on a full disk");
    assert_eq!(compromised.state, KeyState::Compromised);
    client
        .call(Lock { token: None })
        .expect("lock works on a full disk");
    assert_eq!(daemon.token("main").login, LoginState::Locked);
    assert_eq!(daemon.fault("main").calls("C_Sign"), used);
}

#[test]
fn a_log_that_was_cut_in_the_middle_of_a_line_is_mended_and_says_so() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    daemon.client().call(sign("k", b"message")).unwrap();
    daemon.signal(rustix::process::Signal::KILL);
    daemon.wait();
    let segment = files(&daemon.state().join("audit"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .unwrap();
    let whole = daemon.audit_lines().len();
    let text = fs::read(&segment).unwrap();
    let end = text.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let mut file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.set_len(end as u64).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(b"{\"seq\":99,\"time\":\"20").unwrap();
    drop(file);
    daemon.start_again();
    let records = checked(&daemon);
    assert!(records.len() > whole);
    assert!(
        records
            .iter()
            .any(|record| record["op"] == "log-repaired" && record["cut"] == 20)
    );
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("it goes on");
}

#[test]
fn a_log_that_somebody_shortened_by_a_line_is_refused() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    daemon.client().call(sign("k", b"message")).unwrap();
    daemon.terminate();
    let segment = files(&daemon.state().join("audit"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let without_second: Vec<_> = text
        .split_inclusive('\n')
        .enumerate()
        .filter(|(number, _)| *number != 1)
        .map(|(_, line)| line)
        .collect();
    fs::write(&segment, without_second.concat()).unwrap();
    let output = daemon.keywardd().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
}
