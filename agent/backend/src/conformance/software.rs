//! The other implementation: what a token makes is checked by it, and what it makes a token opens.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap, KeyWrapPadded};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, UnparsedPublicKey};
use aws_lc_rs::{agreement, hmac};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, CoseKey, KeyType, SecretBytes};

/// Whether a signature verifies.
pub(super) fn verifies(
    algorithm: Algorithm,
    key: &CoseKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let verification: &dyn signature::VerificationAlgorithm = match algorithm {
        Algorithm::Esp256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Esp384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Ed25519 => &signature::ED25519,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        other => panic!("{other} does not sign"),
    };
    let key = match key {
        CoseKey::Ed25519 { x } => x.to_vec(),
        CoseKey::Rsa { .. } => key.to_spki().unwrap(),
        key => key.to_sec1().unwrap(),
    };
    let key = UnparsedPublicKey::new(verification, key);
    key.verify(message, signature).is_ok()
}

/// RSAES-OAEP to a public key.
pub(super) fn encrypt(
    algorithm: Algorithm,
    key: &CoseKey,
    label: &[u8],
    plaintext: &[u8],
) -> Vec<u8> {
    let hash = match algorithm {
        Algorithm::RsaOaepSha1 => &OAEP_SHA1_MGF1SHA1,
        _ => &OAEP_SHA256_MGF1SHA256,
    };
    let key = PublicEncryptingKey::from_der(&key.to_spki().unwrap()).unwrap();
    let key = OaepPublicEncryptingKey::new(key).unwrap();
    let mut out = vec![0; key.ciphertext_size()];
    key.encrypt(hash, plaintext, &mut out, Some(label))
        .unwrap()
        .to_vec()
}

/// Somebody to agree with.
pub(super) struct Peer {
    private: agreement::PrivateKey,
    pub(super) public: CoseKey,
}

impl Peer {
    pub(super) fn new(key_type: KeyType) -> Self {
        let private = agreement::PrivateKey::generate(curve(key_type)).unwrap();
        let public = private.compute_public_key().unwrap();
        let public = CoseKey::from_sec1(public.as_ref()).unwrap();
        Self { private, public }
    }

    /// The x coordinate of the shared point.
    pub(super) fn secret(&self, key: &CoseKey) -> SecretBytes {
        let point = key.to_sec1().unwrap();
        let key = agreement::UnparsedPublicKey::new(self.private.algorithm(), point);
        agreement::agree(&self.private, key, (), |secret| {
            Ok(SecretBytes::copy_from(secret))
        })
        .unwrap()
    }
}

fn curve(key_type: KeyType) -> &'static agreement::Algorithm {
    match key_type {
        KeyType::P384 => &agreement::ECDH_P384,
        _ => &agreement::ECDH_P256,
    }
}

/// AES-GCM, with the tag behind.
pub(super) fn seal(key: &[u8], iv: [u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        _ => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let nonce = Nonce::assume_unique_for_key(iv);
    let mut bytes = plaintext.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut bytes)
        .unwrap();
    bytes
}

/// AES-KW or AES-KWP.
pub(super) fn wrap(algorithm: Algorithm, key: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let cipher = match key.len() {
        16 => &AES_128,
        _ => &AES_256,
    };
    let key = AesKek::new(cipher, key).unwrap();
    let mut out = vec![0; plaintext.len() + 15];
    let wrapped = match algorithm {
        Algorithm::A128Kw | Algorithm::A256Kw => key.wrap(plaintext, &mut out),
        _ => key.wrap_with_padding(plaintext, &mut out),
    };
    wrapped.unwrap().to_vec()
}

/// HMAC, whole.
pub(super) fn mac(algorithm: Algorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        Algorithm::HmacSha384 => hmac::HMAC_SHA384,
        Algorithm::HmacSha512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(hash, key), message)
        .as_ref()
        .to_vec()
}

/// The bytes of a secret key that is always the same.
pub(super) fn secret(key_type: KeyType) -> Vec<u8> {
    // Of data there can be any.
    let length = key_type.secret_length().unwrap_or(40);
    (1..=u8::try_from(length).unwrap()).collect()
}

/// A new key to be imported.
pub(super) fn material(key_type: KeyType) -> KeyMaterial {
    let pkcs8 = |bytes: &[u8]| KeyMaterial::Pkcs8(SecretBytes::copy_from(bytes));
    let ecdsa = |algorithm| {
        pkcs8(
            EcdsaKeyPair::generate(algorithm)
                .unwrap()
                .to_pkcs8v1()
                .unwrap()
                .as_ref(),
        )
    };
    let rsa = |size| {
        let key = signature::RsaKeyPair::generate(size).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        pkcs8(der.as_ref())
    };
    match key_type {
        KeyType::P256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyType::P384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyType::Ed25519 => pkcs8(
            Ed25519KeyPair::generate()
                .unwrap()
                .to_pkcs8v1()
                .unwrap()
                .as_ref(),
        ),
        KeyType::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyType::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyType::Rsa4096 => rsa(KeySize::Rsa4096),
        secret_type => {
            KeyMaterial::Secret(secret_type, SecretBytes::copy_from(&secret(secret_type)))
        }
    }
}

/// The same material again: it can't be cloned.
pub(super) fn again(material: &KeyMaterial) -> KeyMaterial {
    match material {
        KeyMaterial::Pkcs8(bytes) => KeyMaterial::Pkcs8(SecretBytes::copy_from(bytes.expose())),
        KeyMaterial::Tss2(bytes) => KeyMaterial::Tss2(SecretBytes::copy_from(bytes.expose())),
        KeyMaterial::Secret(key_type, bytes) => {
            KeyMaterial::Secret(*key_type, SecretBytes::copy_from(bytes.expose()))
        }
    }
}
