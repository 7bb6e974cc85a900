//! Seals with the current version of a key.

use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::ciphertext::{Body, Ciphertext, Context, Header, Scheme, TAG_LENGTH};
use keyward_protocol::{Algorithm, ErrorCode, Failure, SecretBytes};
use rustix::rand::{GetRandomFlags, getrandom};
use uuid::Uuid;

use crate::envelope::{self, SealError};
use crate::registry::{Key, SealCountError, Version};
use crate::request::manage::registry_failed;
use crate::request::usage::place::Repeat;
use crate::request::usage::{does_not, misbehaved, protecting};
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    /// The ciphertext, and the version that made it.
    pub(super) async fn seal(
        &self,
        key: &Key,
        algorithm: Algorithm,
        context: &Context,
        plaintext: SecretBytes,
        entry: &mut Entry,
    ) -> Result<(Vec<u8>, u32), Failure> {
        entry.algorithm = Some(algorithm);
        let version = protecting(key)?;
        entry.version = Some(version.id);
        let scheme = Scheme::of(algorithm);
        let header = scheme.and_then(|scheme| Header::new(scheme, key.id, version.number));
        let header = header.ok_or_else(|| does_not(key, "encrypt"))?;
        let ciphertext = match &version.public {
            // The public key needs no token.
            Some(public) => envelope::seal(header, public, context, &plaintext),
            None => {
                let sealed = self.seal_in_token(version, header, context, plaintext, entry);
                let (body, content) = sealed.await?;
                Ciphertext::new(header, body, content).map_err(SealError::from)
            }
        };
        let ciphertext = ciphertext.map_err(|error| seal_failed(key, &error))?;
        Ok((ciphertext.encode(), version.number))
    }

    async fn seal_in_token(
        &self,
        version: &Version,
        header: Header,
        context: &Context,
        plaintext: SecretBytes,
        entry: &mut Entry,
    ) -> Result<(Body, Vec<u8>), Failure> {
        let length = plaintext.len().saturating_add(TAG_LENGTH);
        let mut work = Rc::new(Work::Seal(message::Seal {
            id: version.id,
            algorithm: header.scheme().algorithm(),
            iv: [0; 12].into(),
            aad: header.aad(context).into(),
            plaintext,
        }));
        // Each try has an IV of its own and counts, also where nothing came of it.
        let next = || {
            self.agent
                .registry
                .borrow_mut()
                .count_seal(version.id)
                .map_err(|error| not_counted(&error, header.kid()))?;
            match Rc::get_mut(&mut work) {
                Some(Work::Seal(seal)) => fill(&mut *seal.iv)?,
                _ => return Err(Failure::new(ErrorCode::Internal, "the last try goes on")),
            }
            Ok(work.clone())
        };
        let check = |token: &Token, outcome| match outcome {
            Outcome::Sealed(sealed) if sealed.ciphertext.len() == length => Ok(sealed),
            _ => Err(misbehaved(token)),
        };
        let sealed = self
            .on_token(version, Repeat::Undone, entry, next, check)
            .await?;
        let body = Body::AesGcm { iv: *sealed.iv };
        Ok((body, sealed.ciphertext.into()))
    }
}

/// Random bytes of the kernel's generator, from which the IVs come (SP 800-38D §8.2.2).
pub(super) fn fill(mut bytes: &mut [u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let got = getrandom(&mut *bytes, GetRandomFlags::empty()).map_err(|error| {
            Failure::new(
                ErrorCode::Internal,
                format!("the kernel gives no random bytes: {error}"),
            )
        })?;
        bytes = bytes.get_mut(got..).unwrap_or_default();
    }
    Ok(())
}

fn not_counted(error: &SealCountError, key: Uuid) -> Failure {
    match error {
        SealCountError::Exhausted => Failure::new(ErrorCode::WrongState, error.to_string()).hint(
            format!("keyward key rotate {key}  # old ciphertexts still open"),
        ),
        SealCountError::Registry(error) => registry_failed(error),
    }
}

fn seal_failed(key: &Key, error: &SealError) -> Failure {
    let code = match error {
        SealError::TooLong => ErrorCode::Invalid,
        _ => ErrorCode::Internal,
    };
    tracing::error!(key = key.id_text, %error, "nothing was encrypted");
    Failure::new(code, format!("it was not encrypted: {error}"))
}
