//! `sign` and `verify`.

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Sign, SignInput, Signature, Verified, Verify};
use keyward_protocol::{Algorithm, ErrorCode, Failure, Format, KeyType, Purpose};
use sha2::{Digest, Sha256, Sha384};

use super::{current, fitting, misbehaved, numbered, usable};
use crate::registry::{Key, Version};
use crate::request::{Entry, With};
use crate::worker::{Token, failure_of};

impl With<'_> {
    pub(in crate::request) async fn sign(
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

    pub(in crate::request) fn verify(
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
