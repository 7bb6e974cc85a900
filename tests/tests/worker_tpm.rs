//! A real keyward-worker with a TPM: what passes on the bus, what stays in the TPM, and its few slots.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_backend::message::{Derive, Mac, Outcome, Unwrap, Work};
use keyward_backend::{BackendError, VersionId};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};
use keyward_tests::swtpm::tpm2;
use keyward_tests::swtpm::wire::code;
use keyward_tests::{TpmToken, Worker, openssl};
use tempfile::TempDir;

/// The attributes of a storage root key (TCG TPM v2.0 Provisioning Guidance §7.5.1), for tpm2-tools.
const ROOT: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
const MESSAGE: &[u8] = b"a message of no particular length";

struct Rig {
    token: TpmToken,
    dir: TempDir,
}

impl Rig {
    fn new(has_pin: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = TpmToken::new(&dir.path().join("keys"), has_pin);
        Self { token, dir }
    }

    fn worker(&self) -> Worker {
        let mut worker = Worker::start_tpm(&self.token);
        worker.open().unwrap();
        if !self.token.pin().is_empty() {
            worker.login(self.token.pin()).unwrap();
        }
        worker
    }

    /// Has one of the tpm2-tools do something.
    fn run(&self, name: &str, arguments: &[&str]) {
        let output = tpm2(&self.token.proxy().tcti(), name, arguments);
        assert!(output.status.success(), "{output:?}");
    }

    /// Puts another storage root key in the place of the usual one.
    fn replace_root(&self, template: &[&str]) {
        let (root, context) = ("0x81000001", self.dir.path().join("root.ctx"));
        let context = context.to_str().unwrap();
        self.run("tpm2_evictcontrol", &["-C", "o", "-c", root]);
        let primary = [template, &["-C", "o", "-c", context]].concat();
        self.run("tpm2_createprimary", &primary);
        self.run("tpm2_evictcontrol", &["-C", "o", "-c", context, root]);
        self.run("tpm2_flushcontext", &["-t"]);
    }

    fn count(&self, code: u32) -> usize {
        self.token.proxy().count(code)
    }
}

#[test]
fn workers_that_are_killed_leave_nothing_in_the_tpm() {
    let rig = Rig::new(true);
    let mut worker = rig.worker();
    let ids: Vec<_> = (0..3)
        .map(|_| worker.generate(KeyType::P256, Purpose::Sign).unwrap().0)
        .collect();
    // A TPM has room for three objects and three sessions.
    for _ in 0..5 {
        // It is killed where it stands.
        drop(worker);
        worker = rig.worker();
        for id in &ids {
            worker.sign(*id, Algorithm::Esp256, MESSAGE).unwrap();
        }
    }
}

#[test]
fn keys_beyond_the_slots_come_back_from_their_contexts() {
    let rig = Rig::new(false);
    let mut worker = rig.worker();
    let ids: Vec<_> = (0..6)
        .map(|_| worker.generate(KeyType::P256, Purpose::Sign).unwrap().0)
        .collect();
    let sign = |worker: &mut Worker, id: &VersionId| {
        worker.sign(*id, Algorithm::Esp256, MESSAGE).unwrap();
    };
    ids.iter().for_each(|id| sign(&mut worker, id));
    let (loads, restores) = (rig.count(code::LOAD), rig.count(code::CONTEXT_LOAD));
    for _ in 0..3 {
        ids.iter().for_each(|id| sign(&mut worker, id));
    }
    assert_eq!(rig.count(code::LOAD), loads, "each was loaded once");
    assert_eq!(rig.count(code::CONTEXT_LOAD), restores + 18);
    // One that is used again and again stays where it is.
    let restores = rig.count(code::CONTEXT_LOAD);
    (0..5).for_each(|_| sign(&mut worker, &ids[5]));
    assert_eq!(rig.count(code::CONTEXT_LOAD), restores);
    // The session in which they were made; no signature needs one.
    assert_eq!(rig.count(code::START_AUTH_SESSION), 1);
}

#[test]
fn after_a_reset_keys_come_back_from_their_files() {
    let rig = Rig::new(true);
    let mut worker = rig.worker();
    let ids: Vec<_> = (0..4)
        .map(|_| worker.generate(KeyType::P256, Purpose::Sign).unwrap().0)
        .collect();
    for reset in [true, false, true] {
        match reset {
            true => rig.token.reset(),
            false => rig.token.suspend(),
        }
        for id in &ids {
            worker.sign(*id, Algorithm::Esp256, MESSAGE).unwrap();
        }
    }
    assert_eq!(rig.token.pins_sent(), 1, "the login of the beginning");
}

#[test]
fn nothing_secret_is_to_be_seen_on_the_bus() {
    let rig = Rig::new(true);
    let mut worker = rig.worker();
    let bus = rig.token.proxy();
    let folder = rig.dir.path();

    assert!(!bus.saw(rig.token.pin().as_bytes()));
    // What the PIN opens, see the harness.
    assert!(!bus.saw(&[0x5a; 32]));

    let random = secret(worker.call(Work::Random(32)));
    assert!(!bus.saw(random.expose()));

    let hmac = SecretBytes::copy_from(&[0xc5; 32]);
    let material = KeyMaterial::Secret(KeyType::HmacSha256, hmac);
    let (id, _) = worker
        .import(KeyType::HmacSha256, Purpose::Mac, material)
        .unwrap();
    assert!(!bus.saw(&[0xc5; 32]));
    let message = SecretBytes::copy_from(MESSAGE);
    let algorithm = Algorithm::HmacSha256;
    let outcome = worker.call(Work::Mac(Mac {
        id,
        algorithm,
        message,
    }));
    assert!(matches!(outcome, Outcome::Mac(_)), "{outcome:?}");
    assert!(!bus.saw(MESSAGE));

    let (der, scalar) = p256_key();
    let material = pkcs8(&der);
    let (id, report) = worker
        .import(KeyType::P256, Purpose::Agree, material)
        .unwrap();
    assert!(!bus.saw(&scalar));
    // With its own public key: the secret is the scalar's square times the base point.
    let peer = report.public.unwrap();
    let z = secret(worker.call(Work::Derive(Derive { id, peer })));
    assert_eq!(z.len(), 32);
    assert!(!bus.saw(z.expose()));

    let (id, report) = worker.generate(KeyType::Rsa2048, Purpose::Unwrap).unwrap();
    let public = folder.join("rsa.der");
    std::fs::write(&public, report.public.unwrap().to_spki().unwrap()).unwrap();
    let ciphertext = openssl::encrypt_oaep_sha256(&public, &[0x3c; 32]).unwrap();
    let opened = secret(worker.call(Work::Unwrap(Unwrap {
        id,
        algorithm: Algorithm::RsaOaepSha256,
        ciphertext: ciphertext.into(),
        label: Vec::new().into(),
    })));
    assert_eq!(opened, SecretBytes::copy_from(&[0x3c; 32]));
    for (code, wanted) in [
        (code::UNSEAL, ENCRYPT),
        (code::ECDH_ZGEN, ENCRYPT),
        (code::RSA_DECRYPT, ENCRYPT),
        (code::HMAC, DECRYPT | ENCRYPT),
        (code::CREATE, DECRYPT),
    ] {
        let sent = bus.exchanges().into_iter().filter(|one| one.code() == code);
        let sent: Vec<_> = sent.map(|one| attributes(&one.command)).collect();
        assert!(
            !sent.is_empty() && sent.iter().all(|one| one & wanted == wanted),
            "{code:x}"
        );
    }
}

/// TPMA_SESSION: the first parameter of the command, or of the response, is encrypted.
const DECRYPT: u8 = 1 << 5;
const ENCRYPT: u8 = 1 << 6;

/// The attributes of the first session of a command with one handle: they are behind the header, the
/// handle, the size of the area, the session's handle and its nonce.
fn attributes(command: &[u8]) -> u8 {
    let nonce = usize::from(u16::from_be_bytes([command[22], command[23]]));
    command[24 + nonce]
}

#[test]
fn a_message_that_is_too_long_for_a_tpm_is_refused_as_input() {
    let rig = Rig::new(false);
    let mut worker = rig.worker();
    let (id, _) = worker.generate(KeyType::HmacSha256, Purpose::Mac).unwrap();
    let mut mac = |length: usize| {
        let (algorithm, message) = (Algorithm::HmacSha256, SecretBytes::zeroed(length));
        worker.call(Work::Mac(Mac {
            id,
            algorithm,
            message,
        }))
    };
    assert!(matches!(mac(1024), Outcome::Mac(_)));
    assert!(matches!(
        mac(1025),
        Outcome::Failed(BackendError::Invalid(_))
    ));
    assert!(matches!(mac(0), Outcome::Mac(_)));
}

#[test]
fn a_file_of_another_tpm_is_refused_and_its_name_is_said() {
    let (rig, other) = (Rig::new(false), Rig::new(false));
    let mut worker = rig.worker();
    let (id, _) = other
        .worker()
        .generate(KeyType::P256, Purpose::Sign)
        .unwrap();
    let name = format!("{id}.tss2");
    std::fs::copy(other.token.keys().join(&name), rig.token.keys().join(&name)).unwrap();
    match worker.sign(id, Algorithm::Esp256, MESSAGE) {
        Err(BackendError::Refused(why)) => assert!(why.contains(&id.to_string()), "{why}"),
        other => panic!("{other:?}"),
    }
    let (own, _) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    worker.sign(own, Algorithm::Esp256, MESSAGE).unwrap();
}

#[test]
fn keys_are_imported_below_a_storage_root_key_of_rsa_too() {
    let rig = Rig::new(false);
    rig.replace_root(&["-G", "rsa2048", "-a", ROOT]);
    let mut worker = rig.worker();
    let key_types = [KeyType::P256, KeyType::Rsa2048];
    for (key_type, algorithm) in key_types
        .into_iter()
        .zip([Algorithm::Esp256, Algorithm::Ps256])
    {
        let der = match key_type {
            KeyType::P256 => p256_key().0,
            _ => openssl::generate_pkcs8(&["-algorithm", "RSA"]),
        };
        let (id, report) = worker.import(key_type, Purpose::Sign, pkcs8(&der)).unwrap();
        assert!(!report.local && !report.never_extractable);
        worker.sign(id, algorithm, MESSAGE).unwrap();
    }
}

#[test]
fn a_storage_root_key_that_counts_tries_is_refused() {
    let rig = Rig::new(false);
    // What tpm2-tools make if they are not told otherwise.
    rig.replace_root(&["-G", "ecc"]);
    match Worker::start_tpm(&rig.token).open() {
        Err(BackendError::DeviceFailed(why)) => assert!(why.contains("noda"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_the_file_of_its_pin_a_token_makes_no_keys() {
    let rig = Rig::new(true);
    let (id, _) = rig.worker().generate(KeyType::P256, Purpose::Sign).unwrap();
    let file = rig.token.keys().join(format!("{}.tss2", uuid::Uuid::nil()));
    let away = rig.dir.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    let mut worker = Worker::start_tpm(&rig.token);
    match worker.open() {
        Err(BackendError::DeviceFailed(why)) => assert!(why.contains("missing"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(worker.generate(KeyType::P256, Purpose::Sign).is_err());
    // Neither is another file taken for it.
    std::fs::copy(rig.token.keys().join(format!("{id}.tss2")), &file).unwrap();
    assert!(worker.open().unwrap().login_required);
    let refused = worker.login(rig.token.pin());
    assert!(
        matches!(&refused, Err(BackendError::Refused(why)) if why.contains("something else")),
        "{refused:?}"
    );
    std::fs::rename(&away, &file).unwrap();
    let mut worker = rig.worker();
    worker.sign(id, Algorithm::Esp256, MESSAGE).unwrap();
}

#[test]
fn a_key_whose_file_went_is_not_shown_from_memory() {
    let rig = Rig::new(false);
    let mut worker = rig.worker();
    let (id, report) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    worker.sign(id, Algorithm::Esp256, MESSAGE).unwrap();
    assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(Some(report)));
    std::fs::remove_file(rig.token.keys().join(format!("{id}.tss2"))).unwrap();
    assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(None));
    let gone = worker.sign(id, Algorithm::Esp256, MESSAGE);
    assert_eq!(gone, Err(BackendError::KeyNotFound));
}

/// A P-256 key of openssl, in PKCS#8, and its scalar.
fn p256_key() -> (Vec<u8>, Vec<u8>) {
    let der = openssl::generate_pkcs8(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    // Version 1, and an OCTET STRING of 32 bytes (RFC 5915 §3).
    let mark = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = der.windows(5).position(|window| window == mark).unwrap() + 5;
    let scalar = der[at..at + 32].to_vec();
    (der, scalar)
}

fn pkcs8(der: &[u8]) -> KeyMaterial {
    KeyMaterial::Pkcs8(SecretBytes::copy_from(der))
}

fn secret(outcome: Outcome) -> SecretBytes {
    match outcome {
        Outcome::Secret(secret) => secret,
        other => panic!("{other:?}"),
    }
}
