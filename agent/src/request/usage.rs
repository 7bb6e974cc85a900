//! Operations that use a key: what is asked is checked before the token sees it, what the token
//! answers before the caller does.

use hkdf::Hkdf;
use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{
    Ecdh, Kdf, Random, RandomBytes, SharedSecret, Sign, SignInput, Signature, Unwrap, Unwrapped,
    Verified, Verify,
};
use keyward_protocol::{
    Algorithm, ErrorCode, Failure, Format, KeyState, KeyType, Purpose, SecretBytes,
};
use sha2::{Digest, Sha256, Sha384};
use tokio::time::Instant;

use super::{Authorised, Entry};
use crate::agent::Agent;
use crate::registry::{Key, Version};
use crate::worker::failure::unwrap_failed;
use crate::worker::{Token, failure_of};

/// The most random bytes of one request.
const MOST_RANDOM: u32 = 1024;

/// What every use needs.
#[derive(Clone, Copy)]
pub(super) struct With<'a> {
    pub(super) agent: &'a Agent,
    pub(super) authorised: &'a Authorised,
    pub(super) deadline: Instant,
}

impl With<'_> {
    pub(super) async fn sign(
        &self,
        key: &Key,
        op: Sign,
        entry: &mut Entry,
    ) -> Result<Signature, Failure> {
        let algorithm = usable(key, Purpose::Sign, op.algorithm)?;
        entry.algorithm = Some(algorithm);
        let input = prepare(key, algorithm, op.input, entry)?;
        let version = current(key)?;
        let work = Work::Sign(message::Sign {
            id: version.id,
            algorithm,
            input: input.clone(),
        });
        let token = self.place(version, entry)?;
        let Outcome::Signature(signature) =
            token.call(self.authorised, work, self.deadline).await?
        else {
            return Err(misbehaved(token));
        };
        self.check_signature(key, version, algorithm, &input, &signature)
            .map_err(|()| wrong_signature(token))?;
        Ok(Signature {
            signature,
            algorithm,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    pub(super) fn verify(
        &self,
        key: &Key,
        op: &Verify,
        entry: &mut Entry,
    ) -> Result<Verified, Failure> {
        // What was signed stays verifiable, whatever became of the key.
        let algorithm = fitting(key, Purpose::Sign, op.algorithm)?;
        let version = numbered(key, op.version)?;
        entry.algorithm = Some(algorithm);
        entry.version = Some(version.id);
        entry.digest = Some(Sha256::digest(op.input.bytes()).into());
        check_length(algorithm, &op.input)?;
        let valid = version.public.as_ref().is_some_and(|public| {
            self.agent
                .verifier
                .verify(version.id, public, algorithm, &op.input, &op.signature)
        });
        Ok(Verified {
            valid,
            version: version.number,
        })
    }

    pub(super) async fn unwrap(
        &self,
        key: &Key,
        op: Unwrap,
        uid: u32,
        entry: &mut Entry,
    ) -> Result<Unwrapped, Failure> {
        let algorithm = usable(key, Purpose::Unwrap, op.algorithm)?;
        let version = numbered(key, op.version)?;
        entry.algorithm = Some(algorithm);
        entry.digest = Some(Sha256::digest(&*op.ciphertext).into());
        if let Some(wait) = self.agent.unwrap_failures.wait(uid) {
            return Err(Failure::new(
                ErrorCode::Busy,
                format!(
                    "too many ciphertexts of yours did not open; try again in {} seconds",
                    wait.as_secs().saturating_add(1)
                ),
            ));
        }
        let work = Work::Unwrap(message::Unwrap {
            id: version.id,
            algorithm,
            ciphertext: op.ciphertext,
            label: op.label.unwrap_or_else(|| Vec::new().into()),
        });
        let token = self.place(version, entry)?;
        let plaintext = match token.call(self.authorised, work, self.deadline).await {
            Ok(Outcome::Secret(plaintext)) => plaintext,
            Ok(_) => return Err(misbehaved(token)),
            Err(failure) => {
                if failure.code == ErrorCode::UnwrapFailed {
                    self.agent.unwrap_failures.failed(uid);
                    return Err(unwrap_failed());
                }
                return Err(failure);
            }
        };
        let most = key.key_type.rsa_bits().map_or(0, |bits| bits / 8) as usize;
        if plaintext.len() >= most {
            return Err(misbehaved(token));
        }
        Ok(Unwrapped {
            plaintext,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    pub(super) async fn ecdh(
        &self,
        key: &Key,
        op: Ecdh,
        entry: &mut Entry,
    ) -> Result<SharedSecret, Failure> {
        let wanted = op.kdf.as_ref().map_or(Algorithm::EcdhRaw, |k| k.algorithm);
        let algorithm = usable(key, Purpose::Agree, Some(wanted))?;
        let version = numbered(key, op.version)?;
        entry.algorithm = Some(algorithm);
        if op.peer.key_type() != Some(key.key_type) {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!(
                    "the peer's key is not on the curve of this key, {}",
                    key.key_type
                ),
            ));
        }
        if let Some(kdf) = &op.kdf {
            check_kdf_length(kdf)?;
        }
        let work = Work::Derive(message::Derive {
            id: version.id,
            peer: op.peer,
        });
        let token = self.place(version, entry)?;
        let Outcome::Secret(z) = token.call(self.authorised, work, self.deadline).await? else {
            return Err(misbehaved(token));
        };
        if Some(z.len()) != key.key_type.coordinate_length() {
            return Err(misbehaved(token));
        }
        let secret = match &op.kdf {
            Some(kdf) => derive(&z, kdf)?,
            None => z,
        };
        Ok(SharedSecret {
            secret,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    pub(super) async fn random(
        &self,
        op: &Random,
        entry: &mut Entry,
    ) -> Result<RandomBytes, Failure> {
        let token = self.agent.token(op.token.as_deref())?;
        entry.token = Some(token.name().to_owned());
        entry.length = Some(op.length as usize);
        if !(1..=MOST_RANDOM).contains(&op.length) {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!(
                    "{} random bytes, where 1 to {MOST_RANDOM} can be had",
                    op.length
                ),
            ));
        }
        let work = Work::Random(op.length);
        let Outcome::Secret(bytes) = token.call(self.authorised, work, self.deadline).await? else {
            return Err(misbehaved(token));
        };
        if bytes.len() != op.length as usize {
            return Err(misbehaved(token));
        }
        Ok(RandomBytes {
            bytes,
            token: token.name().to_owned(),
        })
    }

    /// The token that serves the version: the first of its placements that can be used.
    fn place(&self, version: &Version, entry: &mut Entry) -> Result<&Token, Failure> {
        entry.version = Some(version.id);
        let tokens = || {
            let names = version.placements.iter().map(|placement| &placement.token);
            names.filter_map(|name| self.agent.tokens.get(name))
        };
        let token = tokens()
            .find(|token| token.is_ready())
            .or_else(|| tokens().next())
            .ok_or_else(|| {
                let names: Vec<_> = version
                    .placements
                    .iter()
                    .map(|p| p.token.as_str())
                    .collect();
                Failure::new(
                    ErrorCode::TokenAbsent,
                    format!(
                        "the key lives on {}, which the configuration does not have",
                        names.join(", ")
                    ),
                )
                .hint("add the token to keyward.toml again")
            })?;
        entry.token = Some(token.name().to_owned());
        Ok(token)
    }

    /// Checks a signature before it leaves: its length always, RSA in full, since that is cheap
    /// and a faulty one gives the key away (Boneh, DeMillo, Lipton).
    fn check_signature(
        &self,
        key: &Key,
        version: &Version,
        algorithm: Algorithm,
        input: &SignInput,
        signature: &[u8],
    ) -> Result<(), ()> {
        let length = match key.key_type {
            KeyType::P256 | KeyType::Ed25519 => 64,
            KeyType::P384 => 96,
            other => other.rsa_bits().ok_or(())? as usize / 8,
        };
        let whole = signature.len() == length;
        let right = key.key_type.rsa_bits().is_none()
            || version.public.as_ref().is_some_and(|public| {
                self.agent
                    .verifier
                    .verify(version.id, public, algorithm, input, signature)
            });
        (whole && right).then_some(()).ok_or(())
    }
}

/// Checks what is to be signed and hashes it where the algorithm has a hash of its own.
fn prepare(
    key: &Key,
    algorithm: Algorithm,
    input: SignInput,
    entry: &mut Entry,
) -> Result<SignInput, Failure> {
    let format = match &input {
        SignInput::Message(_) => Format::Raw,
        SignInput::Digest(_) => Format::Digest,
        SignInput::Absorbed(_) => {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                "this agent does not take messages in parts yet",
            ));
        }
    };
    if !key.formats.contains(&format) {
        let formats: Vec<_> = key.formats.iter().map(|format| format.name()).collect();
        return Err(Failure::new(
            ErrorCode::FormatNotAllowed,
            format!("the key signs {}, not {format}", formats.join(", ")),
        )
        .hint(format!(
            "keyward key create NAME --purpose sign --type {} --format {format}",
            key.key_type
        )));
    }
    check_length(algorithm, &input)?;
    let sha256: [u8; 32] = match &input {
        SignInput::Digest(digest) if digest.len() == 32 => {
            digest.as_slice().try_into().unwrap_or_default()
        }
        other => Sha256::digest(other.bytes()).into(),
    };
    entry.digest = Some(sha256);
    Ok(match (input, algorithm.digest_length()) {
        (SignInput::Message(_), Some(32)) => SignInput::Digest(sha256.to_vec()),
        (SignInput::Message(message), Some(_)) => {
            SignInput::Digest(Sha384::digest(message).to_vec())
        }
        (input, _) => input,
    })
}

/// A digest must be as long as the algorithm's hash.
fn check_length(algorithm: Algorithm, input: &SignInput) -> Result<(), Failure> {
    match (input, algorithm.digest_length()) {
        (SignInput::Digest(_), None) => Err(Failure::new(
            ErrorCode::Invalid,
            format!("{algorithm} signs messages, not digests"),
        )),
        (SignInput::Digest(digest), Some(length)) if digest.len() != length => Err(Failure::new(
            ErrorCode::Invalid,
            format!(
                "a digest of {} bytes, where {algorithm} needs {length}",
                digest.len()
            ),
        )),
        _ => Ok(()),
    }
}

fn check_kdf_length(kdf: &Kdf) -> Result<(), Failure> {
    let most = match kdf.algorithm {
        Algorithm::EcdhHkdfSha384 => 255 * 48,
        _ => 255 * 32,
    };
    if (1..=most).contains(&kdf.length) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::Invalid,
        format!(
            "{} bytes, where {} gives 1 to {most}",
            kdf.length, kdf.algorithm
        ),
    ))
}

/// HKDF (RFC 5869) of the shared secret, which is wiped.
fn derive(z: &SecretBytes, kdf: &Kdf) -> Result<SecretBytes, Failure> {
    let salt = kdf.salt.as_ref().map(|salt| salt.as_slice());
    let info = kdf.info.as_ref().map_or(&[][..], |info| info.as_slice());
    let mut secret = SecretBytes::zeroed(kdf.length as usize);
    let okm = secret.expose_mut();
    let derived = match kdf.algorithm {
        Algorithm::EcdhHkdfSha384 => Hkdf::<Sha384>::new(salt, z.expose()).expand(info, okm),
        _ => Hkdf::<Sha256>::new(salt, z.expose()).expand(info, okm),
    };
    derived.map_err(|_| Failure::new(ErrorCode::Invalid, "a length that HKDF can't give"))?;
    Ok(secret)
}

/// The algorithm, if key, purpose and state allow it.
fn usable(key: &Key, purpose: Purpose, algorithm: Option<Algorithm>) -> Result<Algorithm, Failure> {
    let algorithm = fitting(key, purpose, algorithm)?;
    // What was sealed can still be opened when nothing new may be made (SP 800-57 Part 1 §7.4).
    let opens = purpose == Purpose::Unwrap;
    match key.state {
        KeyState::Active => Ok(algorithm),
        KeyState::Deactivated if opens => Ok(algorithm),
        state => Err(
            Failure::new(ErrorCode::WrongState, format!("the key is {state}"))
                .hint(format!("keyward key show {}", key.id_text)),
        ),
    }
}

/// The algorithm, if the key has the purpose and can do it.
fn fitting(
    key: &Key,
    purpose: Purpose,
    algorithm: Option<Algorithm>,
) -> Result<Algorithm, Failure> {
    if key.purpose != purpose {
        return Err(Failure::new(
            ErrorCode::WrongPurpose,
            format!(
                "the key's purpose is {}, and this needs {purpose}",
                key.purpose
            ),
        )
        .hint("keyward key list"));
    }
    let offered = purpose.algorithms(key.key_type);
    let fits = match algorithm {
        None => offered.first().copied(),
        Some(algorithm) => offered.iter().copied().find(|other| *other == algorithm),
    };
    fits.ok_or_else(|| {
        let names: Vec<_> = offered.iter().map(|a| a.name()).collect();
        Failure::new(
            ErrorCode::MechanismInvalid,
            format!("a key of type {} does {}", key.key_type, names.join(", ")),
        )
    })
}

fn current(key: &Key) -> Result<&Version, Failure> {
    key.current()
        .ok_or_else(|| Failure::new(ErrorCode::WrongState, "the key has no version left"))
}

/// The version of a number, or the current one.
pub(super) fn numbered(key: &Key, number: Option<u32>) -> Result<&Version, Failure> {
    let Some(number) = number else {
        return current(key);
    };
    key.versions
        .iter()
        .find(|version| version.number == number)
        .ok_or_else(|| {
            Failure::new(
                ErrorCode::NotFound,
                format!("the key has no version {number}"),
            )
            .hint(format!("keyward key show {}", key.id_text))
        })
}

fn misbehaved(token: &Token) -> Failure {
    tracing::error!(
        token = token.name(),
        "the worker answered what was not asked"
    );
    token.distrust();
    failure_of(
        token.name(),
        keyward_backend::BackendError::DeviceFailed(
            "its answer is not one to this question".into(),
        ),
    )
}

fn wrong_signature(token: &Token) -> Failure {
    tracing::error!(
        token = token.name(),
        "a signature that does not verify was held back"
    );
    token.distrust();
    failure_of(
        token.name(),
        keyward_backend::BackendError::DeviceFailed(
            "it made a signature that does not verify, which was held back".into(),
        ),
    )
}
