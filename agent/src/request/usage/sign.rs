//! `sign` and `verify`.

use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Sign, SignInput, Signature, Verified, Verify};
use keyward_protocol::{Algorithm, ErrorCode, Failure, Format, KeyType, Purpose};
use minicbor::bytes::ByteVec;
use sha2::{Digest, Sha256, Sha384};

use super::place::Repeat;
use super::{Use, fitting, misbehaved, numbered, protecting, usable};
use crate::registry::{Key, Version};
use crate::request::absorb::Taken;
use crate::request::{Entry, With};
use crate::worker::{Token, failure_of};

impl With<'_> {
    pub(in crate::request) async fn sign(
        &self,
        key: &Key,
        op: Sign,
        entry: &mut Entry,
    ) -> Result<Signature, Failure> {
        let algorithm = usable(key, Purpose::Sign, op.algorithm, Use::Protect)?;
        entry.algorithm = Some(algorithm);
        let absorbed = self.absorbed(&op.input)?;
        let input = prepare(key, algorithm, op.input, absorbed.as_ref(), entry)?;
        let version = protecting(key)?;
        let signature = self
            .signature(key, version, algorithm, input, entry)
            .await?;
        if let Some(absorbed) = absorbed {
            absorbed.use_up();
        }
        Ok(Signature {
            signature,
            algorithm,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    /// Has the version sign what is prepared, and checks the signature.
    pub(in crate::request) async fn signature(
        &self,
        key: &Key,
        version: &Version,
        algorithm: Algorithm,
        input: SignInput,
        entry: &mut Entry,
    ) -> Result<ByteVec, Failure> {
        let work = Rc::new(Work::Sign(message::Sign {
            id: version.id,
            algorithm,
            input,
        }));
        let check = |token: &Token, outcome| {
            let (Outcome::Signature(signature), Work::Sign(sign)) = (outcome, &*work) else {
                return Err(misbehaved(token));
            };
            self.check_signature(token, key, version, algorithm, &sign.input, &signature)
                .map_err(|()| wrong_signature(token))?;
            Ok(signature)
        };
        self.on_token(version, Repeat::Undone, entry, || Ok(work.clone()), check)
            .await
    }

    pub(in crate::request) fn verify(
        &self,
        key: &Key,
        op: Verify,
        entry: &mut Entry,
    ) -> Result<Verified, Failure> {
        // What was signed stays verifiable, whatever became of the key.
        let algorithm = fitting(key, Purpose::Sign, op.algorithm)?;
        let version = numbered(key, op.version)?;
        entry.algorithm = Some(algorithm);
        entry.version = Some(version.id);
        let absorbed = self.absorbed(&op.input)?;
        entry.digest = Some(match &absorbed {
            Some(absorbed) => absorbed.sha256(),
            None => Sha256::digest(op.input.bytes()).into(),
        });
        let input = match &absorbed {
            Some(absorbed) => digest_of(absorbed, algorithm)?,
            None => op.input,
        };
        check_length(algorithm, &input)?;
        let valid = version.public.as_ref().is_some_and(|public| {
            self.agent
                .verifier
                .verify(version.id, public, algorithm, &input, &op.signature)
        });
        if let Some(absorbed) = absorbed {
            absorbed.use_up();
        }
        Ok(Verified {
            valid,
            version: version.number,
        })
    }

    /// What the connection gave in parts, if that is what is meant.
    fn absorbed(&self, input: &SignInput) -> Result<Option<Taken<'_>>, Failure> {
        match input {
            SignInput::Absorbed(stream) => self.origin.streams.take(*stream).map(Some),
            SignInput::Message(_) | SignInput::Digest(_) => Ok(None),
        }
    }

    /// Checks a signature before it leaves: its length always, RSA in full, since that is cheap
    /// and a faulty one gives the key away (Boneh, DeMillo, Lipton), and in full what a
    /// token made that does not show its keys: another program can put one in the place of another.
    fn check_signature(
        &self,
        token: &Token,
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
        let in_full = key.key_type.rsa_bits().is_some() || token.hides_keys();
        let right = !in_full
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
    absorbed: Option<&Taken<'_>>,
    entry: &mut Entry,
) -> Result<SignInput, Failure> {
    let format = match &input {
        SignInput::Message(_) | SignInput::Absorbed(_) => Format::Raw,
        SignInput::Digest(_) => Format::Digest,
    };
    if !key.formats.contains(&format) {
        return Err(format_not_allowed(key, format));
    }
    if let Some(absorbed) = absorbed {
        entry.digest = Some(absorbed.sha256());
        return digest_of(absorbed, algorithm);
    }
    check_length(algorithm, &input)?;
    Ok(digested(algorithm, input, entry))
}

/// What the token is given of it: the digest where the algorithm has a hash of its own.
pub(in crate::request) fn digested(
    algorithm: Algorithm,
    input: SignInput,
    entry: &mut Entry,
) -> SignInput {
    let sha256: [u8; 32] = match &input {
        SignInput::Digest(digest) if digest.len() == 32 => {
            digest.as_slice().try_into().unwrap_or_default()
        }
        other => Sha256::digest(other.bytes()).into(),
    };
    entry.digest = Some(sha256);
    match (input, algorithm.digest_length()) {
        (SignInput::Message(_), Some(32)) => SignInput::Digest(sha256.to_vec()),
        (SignInput::Message(message), Some(_)) => {
            SignInput::Digest(Sha384::digest(message).to_vec())
        }
        (input, _) => input,
    }
}

pub(super) fn format_not_allowed(key: &Key, format: Format) -> Failure {
    let formats: Vec<_> = key.formats.iter().map(|format| format.name()).collect();
    Failure::new(
        ErrorCode::FormatNotAllowed,
        format!("the key signs {}, not {format}", formats.join(", ")),
    )
    .hint(format!(
        "keyward key create NAME --purpose sign --type {} --format {format}",
        key.key_type
    ))
}

/// What a message that was given in parts comes to for an algorithm.
fn digest_of(absorbed: &Taken<'_>, algorithm: Algorithm) -> Result<SignInput, Failure> {
    match algorithm.digest_length() {
        Some(32) => Ok(SignInput::Digest(absorbed.sha256().to_vec())),
        Some(48) => Ok(SignInput::Digest(absorbed.sha384().to_vec())),
        _ => Err(Failure::new(
            ErrorCode::Invalid,
            format!(
                "{algorithm} reads the message twice, so it can't be given in parts; it must fit into one request"
            ),
        )
        .hint("sign the SHA-256 sum of it as the message, or use a key of type P-256")),
    }
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
