//! What is encrypted with an imported key opens outside of keyward with the key that was imported: by
//! SPEC.md §12 alone, `openssl`, and the AEAD and HMAC of another library than the one that sealed.

use std::{fs, path::PathBuf};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac::{self, HMAC_SHA256},
};
use keyward_client::{
    key_format,
    protocol::{
        CoseKey, KeyType, Purpose, SecretBytes,
        operation::{Encrypt, Import, KeyDescription, KeyMaterial},
    },
};
use keyward_tests::{Daemon, Setup, openssl, process::run_with};
use minicbor::{Decoder, Encoder};

const PLAINTEXT: &[u8] = b"what only the key opens";

/// A ciphertext, taken apart by hand.
struct Parts {
    tag: u64,
    protected: Vec<u8>,
    /// The one parameter of the unprotected header.
    label: i64,
    parameter: Vec<u8>,
    content: Vec<u8>,
    /// The encrypted key of the one recipient.
    encrypted_key: Vec<u8>,
}

impl Parts {
    fn of(ciphertext: &[u8]) -> Self {
        let mut cbor = Decoder::new(ciphertext);
        let tag = cbor.tag().unwrap().as_u64();
        let items = cbor.array().unwrap();
        let protected = cbor.bytes().unwrap().to_vec();
        assert_eq!(cbor.map().unwrap(), Some(1));
        let label = cbor.i64().unwrap();
        let parameter = cbor.bytes().unwrap().to_vec();
        let content = cbor.bytes().unwrap().to_vec();
        let mut encrypted_key = Vec::new();
        if items == Some(4) {
            assert_eq!(
                (cbor.array().unwrap(), cbor.array().unwrap()),
                (Some(1), Some(3))
            );
            assert!(cbor.bytes().unwrap().is_empty());
            assert_eq!((cbor.map().unwrap(), cbor.i64().unwrap()), (Some(1), 1));
            assert_eq!(cbor.i64().unwrap(), -41);
            encrypted_key = cbor.bytes().unwrap().to_vec();
        }
        assert_eq!(cbor.position(), ciphertext.len());
        Self {
            tag,
            protected,
            label,
            parameter,
            content,
            encrypted_key,
        }
    }

    /// The Enc_structure; the context is `{"tenant": "a"}`.
    fn aad(&self, kind: &str) -> Vec<u8> {
        let mut context = Encoder::new(Vec::new());
        context
            .map(1)
            .unwrap()
            .str("tenant")
            .unwrap()
            .str("a")
            .unwrap();
        let context = context.into_writer();
        let mut aad = Encoder::new(Vec::new());
        aad.array(3).unwrap().str(kind).unwrap();
        aad.bytes(&self.protected).unwrap().bytes(&context).unwrap();
        aad.into_writer()
    }

    fn open(&self, kind: &str, key: &[u8], iv: &[u8]) -> Vec<u8> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(iv).unwrap();
        let mut content = self.content.clone();
        let opened = key.open_in_place(nonce, Aad::from(self.aad(kind)), &mut content);
        opened.expect("it opens").to_vec()
    }
}

fn import(daemon: &Daemon, material: KeyMaterial) -> KeyDescription {
    let import = Import {
        purpose: Purpose::Encrypt,
        material,
        alias: Some("k".into()),
        tokens: None,
        formats: None,
        tags: None,
        existing: None,
        bind: None,
        piv: None,
    };
    daemon.client().call(import).unwrap()
}

fn sealed(daemon: &Daemon) -> Parts {
    let made = daemon.client().call(Encrypt {
        key: "k".into(),
        plaintext: SecretBytes::copy_from(PLAINTEXT),
        context: Some([("tenant".into(), "a".into())].into()),
        algorithm: None,
    });
    Parts::of(&made.unwrap().ciphertext)
}

/// A private key of openssl's, imported, and the file that has it outside.
fn pkcs8(daemon: &Daemon, arguments: &[&str]) -> PathBuf {
    let der = openssl::generate_pkcs8(arguments);
    import(daemon, KeyMaterial::Pkcs8(SecretBytes::copy_from(&der)));
    let mut convert = openssl::command("pkey");
    let pem = run_with(convert.args(["-inform", "DER"]), &der).stdout;
    let file = daemon.dir().join("private.pem");
    fs::write(&file, pem).unwrap();
    file
}

#[test]
fn with_an_aes_key() {
    let daemon = Daemon::start(Setup::new());
    let key: Vec<u8> = (0..32).map(|byte| byte * 7).collect();
    let bytes = SecretBytes::copy_from(&key);
    import(&daemon, KeyMaterial::Secret(KeyType::Aes256, bytes));
    let parts = sealed(&daemon);
    assert_eq!((parts.tag, parts.label), (16, 5));
    assert_eq!(parts.open("Encrypt0", &key, &parts.parameter), PLAINTEXT);
}

#[test]
fn with_an_rsa_key() {
    let daemon = Daemon::start(Setup::new());
    let private = pkcs8(
        &daemon,
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    );
    let parts = sealed(&daemon);
    assert_eq!((parts.tag, parts.label), (96, 5));
    let encrypted = daemon.dir().join("encrypted-key");
    fs::write(&encrypted, &parts.encrypted_key).unwrap();
    let mut decrypt = openssl::command("pkeyutl");
    decrypt.args(["-decrypt", "-pkeyopt", "rsa_padding_mode:oaep"]);
    decrypt.args([
        "-pkeyopt",
        "rsa_oaep_md:sha256",
        "-pkeyopt",
        "rsa_mgf1_md:sha256",
    ]);
    decrypt.arg("-inkey").arg(private).arg("-in").arg(encrypted);
    let key = openssl::run(&mut decrypt).unwrap();
    assert_eq!(parts.open("Encrypt", &key, &parts.parameter), PLAINTEXT);
}

#[test]
fn with_a_p256_key() {
    let daemon = Daemon::start(Setup::new());
    let private = pkcs8(
        &daemon,
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    );
    let parts = sealed(&daemon);
    assert_eq!((parts.tag, parts.label), (16, -4));
    let ephemeral = CoseKey::from_sec1(&parts.parameter).expect("a point");
    let peer = daemon.dir().join("ephemeral.pem");
    fs::write(&peer, key_format::to_pem(&ephemeral).unwrap()).unwrap();
    let z = openssl::derive(&private, &peer).unwrap();
    let public = daemon.dir().join("public.pem");
    openssl::write_public(&private, &public).unwrap();
    let public = key_format::parse(&fs::read(public).unwrap()).unwrap();
    let public = public.to_sec1().unwrap();
    let (key, nonce) = key_schedule(&z, &parts.parameter, &public);
    assert_eq!(parts.open("Encrypt0", &key, &nonce), PLAINTEXT);
}

/// Key and nonce of HPKE's base mode without `info`: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256,
/// AES-256-GCM (RFC 9180 §4.1, §5.1).
fn key_schedule(z: &[u8], enc: &[u8], public: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let kem = b"KEM\x00\x10";
    let hpke = b"HPKE\x00\x10\x00\x01\x00\x02";
    let eae_prk = extract(kem, b"", b"eae_prk", z);
    let kem_context = [enc, public].concat();
    let shared = expand(kem, &eae_prk, b"shared_secret", &kem_context, 32);
    let psk_id = extract(hpke, b"", b"psk_id_hash", b"");
    let info = extract(hpke, b"", b"info_hash", b"");
    let context = [&[0][..], &psk_id, &info].concat();
    let secret = extract(hpke, &shared, b"secret", b"");
    let key = expand(hpke, &secret, b"key", &context, 32);
    (key, expand(hpke, &secret, b"base_nonce", &context, 12))
}

/// LabeledExtract.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Vec<u8> {
    hmac_of(salt, &[b"HPKE-v1", suite, label, ikm].concat())
}

/// LabeledExpand, of one block of HKDF at the most.
fn expand(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8], length: u16) -> Vec<u8> {
    let length_bytes = length.to_be_bytes();
    let parts = [&length_bytes[..], b"HPKE-v1", suite, label, info, &[1]];
    let mut block = hmac_of(prk, &parts.concat());
    block.truncate(length.into());
    block
}

fn hmac_of(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}
