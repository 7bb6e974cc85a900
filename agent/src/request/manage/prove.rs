//! Proves that the key on a token is the one that it should be, by something that only it can do.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{
    ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::{hmac, rand};
use keyward_backend::VersionId;
use keyward_backend::message::{Derive, Mac, Outcome, Sign, Unseal, Unwrap, Work};
use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey, ErrorCode, Failure, KeyType, Purpose, SecretBytes};
use sha2::{Digest as _, Sha256, Sha384};

use crate::request::With;
use crate::worker::{Ask, Token};

/// What is known of the key that it should be.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    /// Its public part.
    Public(&'a CoseKey),
    /// The secret key itself.
    Secret(&'a SecretBytes),
}

/// A key that is to be proven.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) id: VersionId,
    pub(super) purpose: Purpose,
    pub(super) key_type: KeyType,
    pub(super) known: Known<'a>,
    /// Where it is, for a token that keeps no notes of it.
    pub(super) place: Option<&'a str>,
}

/// What the token must answer.
enum Expected {
    Signature(Algorithm, SignInput),
    Secret(SecretBytes),
    Mac(Vec<u8>),
}

impl With<'_> {
    /// Whether the token's key is the one that is known: it does something that only that one can.
    ///
    /// # Errors
    /// The token could not be asked, or can't do what the key is for.
    pub(super) async fn prove(&self, token: &Token, claim: Claim<'_>) -> Result<bool, Failure> {
        let (work, expected) = challenge(&claim).ok_or_else(|| {
            Failure::new(
                ErrorCode::Internal,
                "no challenge for the key could be made",
            )
        })?;
        let ask = match (claim.known, claim.place) {
            (Known::Public(public), Some(place)) => Ask::at(work, place, public),
            _ => work.into(),
        };
        let answer = match token.call(self.authorised, ask, self.deadline).await {
            // What does not open with the token's key was not made with the one that is known.
            Err(failure) if failure.code == ErrorCode::UnwrapFailed => return Ok(false),
            answer => answer?,
        };
        Ok(match (expected, answer) {
            (Expected::Signature(algorithm, input), Outcome::Signature(signature)) => {
                let Known::Public(public) = claim.known else {
                    return Ok(false);
                };
                // A verifier of its own: no claim may be remembered as the key of its id.
                crate::verify::Verifier::default()
                    .verify(claim.id, public, algorithm, &input, &signature)
            }
            (Expected::Secret(expected), Outcome::Secret(secret)) => {
                secret.expose() == expected.expose()
            }
            (Expected::Mac(expected), Outcome::Mac(mac)) => *mac == expected,
            _ => false,
        })
    }
}

fn challenge(claim: &Claim<'_>) -> Option<(Work, Expected)> {
    let id = claim.id;
    if let (Purpose::Seal, Known::Secret(data)) = (claim.purpose, claim.known) {
        let data = SecretBytes::copy_from(data.expose());
        return Some((Work::UnsealData(id), Expected::Secret(data)));
    }
    let algorithm = claim.purpose.algorithms(claim.key_type).first().copied()?;
    let random = random()?;
    match (claim.purpose, claim.known) {
        (Purpose::Sign, Known::Public(_)) => {
            let input = match algorithm.digest_length() {
                Some(48) => SignInput::Digest(Sha384::digest(random.expose()).to_vec()),
                Some(_) => SignInput::Digest(Sha256::digest(random.expose()).to_vec()),
                None => SignInput::Message(random.expose().to_vec()),
            };
            let work = Work::Sign(Sign {
                id,
                algorithm,
                input: input.clone(),
            });
            Some((work, Expected::Signature(algorithm, input)))
        }
        (_, Known::Public(public @ (CoseKey::P256 { .. } | CoseKey::P384 { .. }))) => {
            let (peer, secret) = agree(public)?;
            Some((Work::Derive(Derive { id, peer }), Expected::Secret(secret)))
        }
        (_, Known::Public(public @ CoseKey::Rsa { .. })) => {
            let ciphertext = oaep(public, random.expose())?;
            let work = unwrap(id, Algorithm::RsaOaepSha256, ciphertext);
            Some((work, Expected::Secret(random)))
        }
        (Purpose::Encrypt, Known::Secret(key)) => {
            let (iv, ciphertext) = gcm(key, random.expose())?;
            let work = Work::Unseal(Unseal {
                id,
                algorithm,
                iv: iv.into(),
                aad: Vec::new().into(),
                ciphertext: ciphertext.into(),
            });
            Some((work, Expected::Secret(random)))
        }
        (Purpose::Wrap, Known::Secret(key)) => {
            // Every token that wraps has it; some have none with padding.
            let algorithm = match claim.key_type {
                KeyType::Aes128 => Algorithm::A128Kw,
                _ => Algorithm::A256Kw,
            };
            let ciphertext = kw(key, random.expose())?;
            Some((unwrap(id, algorithm, ciphertext), Expected::Secret(random)))
        }
        (Purpose::Mac, Known::Secret(key)) => {
            let hash = match claim.key_type {
                KeyType::HmacSha256 => hmac::HMAC_SHA256,
                KeyType::HmacSha384 => hmac::HMAC_SHA384,
                _ => hmac::HMAC_SHA512,
            };
            let tag = hmac::sign(&hmac::Key::new(hash, key.expose()), random.expose());
            let work = Work::Mac(Mac {
                id,
                algorithm,
                message: random,
            });
            Some((work, Expected::Mac(tag.as_ref().to_vec())))
        }
        _ => None,
    }
}

fn unwrap(id: VersionId, algorithm: Algorithm, ciphertext: Vec<u8>) -> Work {
    Work::Unwrap(Unwrap {
        id,
        algorithm,
        ciphertext: ciphertext.into(),
        label: Vec::new().into(),
    })
}

/// 32 bytes that nobody knows.
fn random() -> Option<SecretBytes> {
    let mut bytes = SecretBytes::zeroed(32);
    rand::fill(bytes.expose_mut()).ok()?;
    Some(bytes)
}

/// A new peer of the key, and the secret that the two share.
fn agree(public: &CoseKey) -> Option<(CoseKey, SecretBytes)> {
    let algorithm = match public {
        CoseKey::P256 { .. } => &ECDH_P256,
        _ => &ECDH_P384,
    };
    let rng = rand::SystemRandom::new();
    let private = EphemeralPrivateKey::generate(algorithm, &rng).ok()?;
    let peer = CoseKey::from_sec1(private.compute_public_key().ok()?.as_ref())?;
    let point = UnparsedPublicKey::new(algorithm, public.to_sec1()?);
    let secret = agree_ephemeral(private, point, (), |z| Ok(SecretBytes::copy_from(z))).ok()?;
    Some((peer, secret))
}

fn oaep(public: &CoseKey, plaintext: &[u8]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(&public.to_spki().ok()?).ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, None)
        .ok()?;
    Some(ciphertext)
}

fn gcm(key: &SecretBytes, plaintext: &[u8]) -> Option<([u8; 12], Vec<u8>)> {
    let algorithm = if key.len() == 16 {
        &AES_128_GCM
    } else {
        &AES_256_GCM
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.expose()).ok()?);
    let mut iv = [0; 12];
    rand::fill(&mut iv).ok()?;
    let mut bytes = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes)
        .ok()?;
    Some((iv, bytes))
}

fn kw(key: &SecretBytes, plaintext: &[u8]) -> Option<Vec<u8>> {
    let cipher = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let kek = AesKek::new(cipher, key.expose()).ok()?;
    let mut bytes = vec![0; plaintext.len().checked_add(8)?];
    let length = kek.wrap(plaintext, &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}
