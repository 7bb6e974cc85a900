//! RSAES-OAEP: by the token where it can, else the raw RSA operation there and the decoding here.

use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismInfo, MechanismType};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::Unwrap;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, SecretBytes};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroize;

use super::Token;
use super::error::Attempt;
use super::opening::{finish, take};
use super::session::{Key, Session};
use super::token::Found;
use crate::oaep;

/// The hashes that the token has refused for OAEP. Each is asked for once: SoftHSM 2.6.1 has SHA-1.
#[derive(Debug, Default)]
pub(super) struct OaepSupport {
    no_sha1: AtomicBool,
    no_sha256: AtomicBool,
}

impl OaepSupport {
    fn refused(&self, hash: Hash) -> &AtomicBool {
        match hash {
            Hash::Sha1 => &self.no_sha1,
            Hash::Sha256 => &self.no_sha256,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
}

impl Session<'_> {
    pub(super) fn unwrap_oaep(&mut self, unwrap: &Unwrap) -> Result<SecretBytes> {
        let hash = match unwrap.algorithm {
            Algorithm::RsaOaepSha256 => Hash::Sha256,
            Algorithm::RsaOaepSha1 => Hash::Sha1,
            other => {
                return Err(BackendError::MechanismInvalid(format!(
                    "{other} does not unwrap"
                )));
            }
        };
        let token = self.token;
        let found = token.found()?;
        self.with_key(unwrap.id, |session, key| {
            if key.modulus.is_empty() {
                return Err(BackendError::MechanismInvalid(format!(
                    "a key of type {} does not unwrap",
                    key.kind
                ))
                .into());
            }
            let ciphertext = oaep::in_range(&unwrap.ciphertext, &key.modulus);
            let refused = token.oaep.refused(hash);
            let mechanisms = &found.mechanisms;
            // SoftHSM 2.6.1 takes a label and ignores it, so that every ciphertext would open with
            // every label: labels are always checked here.
            if unwrap.label.is_empty()
                && mechanisms.can(MechanismType::RSA_PKCS_OAEP, MechanismInfo::decrypt)
                && !refused.load(Ordering::Relaxed)
            {
                match by_token(session, key, hash, &ciphertext) {
                    Err(Error::Pkcs11(code, Function::DecryptInit)) if is_about_oaep(code) => {
                        refused.store(true, Ordering::Relaxed);
                    }
                    opened => return finish(token, session, opened),
                }
            }
            by_decoding(
                token,
                session,
                &found,
                key,
                hash,
                &unwrap.label,
                &ciphertext,
            )
        })
    }
}

fn by_token(
    session: &RawSession,
    key: &Key,
    hash: Hash,
    ciphertext: &[u8],
) -> cryptoki::error::Result<SecretBytes> {
    let (kind, mgf) = match hash {
        Hash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    let mechanism = Mechanism::RsaPkcsOaep(PkcsOaepParams::new(kind, mgf, PkcsOaepSource::empty()));
    session
        .decrypt(&mechanism, key.handle, ciphertext)
        .map(take)
}

fn by_decoding(
    token: &Token,
    session: &RawSession,
    found: &Found,
    key: &Key,
    hash: Hash,
    label: &[u8],
    ciphertext: &[u8],
) -> Attempt<SecretBytes> {
    if !found
        .mechanisms
        .can(MechanismType::RSA_X_509, MechanismInfo::decrypt)
    {
        return Err(BackendError::MechanismInvalid(
            "the token lacks raw RSA (CKM_RSA_X_509), which keyward needs for OAEP with a label or with a hash that \
             the token lacks".to_owned(),
        )
        .into());
    }
    let raw = session.decrypt(&Mechanism::RsaX509, key.handle, ciphertext);
    let encoded = raw.map(|mut raw| {
        let encoded = oaep::full_width(&raw, key.modulus.len());
        raw.zeroize();
        encoded
    });
    let encoded = finish(token, session, encoded)?;
    let opened = match hash {
        Hash::Sha1 => oaep::decode::<Sha1>(encoded.expose(), label),
        Hash::Sha256 => oaep::decode::<Sha256>(encoded.expose(), label),
    };
    opened.map_err(|oaep::DecodeFailed| BackendError::UnwrapFailed.into())
}

/// The codes with which tokens refuse a hash before they see a ciphertext.
fn is_about_oaep(code: RvError) -> bool {
    matches!(
        code,
        RvError::ArgumentsBad
            | RvError::MechanismParamInvalid
            | RvError::MechanismInvalid
            | RvError::FunctionNotSupported
    )
}
