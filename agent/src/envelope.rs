//! What the agent computes of envelope encryption: all but what the key in the token does.
//!
//! Ciphertexts are those of [`keyward_protocol::ciphertext`]. A token's AES key makes and opens
//! its own; here are the two that need no more of the token than one operation of its key:
//! HPKE ([`hpke`]), for which ECDH gives Z, and RSAES-OAEP ([`oaep`]), which gives the content's
//! key. Whatever is wrong with a ciphertext is [`OpenFailed`].

pub mod content;
pub mod hpke;
pub mod oaep;

use keyward_protocol::ciphertext::{Body, Ciphertext, Context, Header, Scheme};
use keyward_protocol::{CoseKey, SecretBytes};
use keyward_seal::Suite;

pub use keyward_seal::SealError;

/// It did not open, and nobody learns why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it did not open")]
pub struct OpenFailed;

/// Seals to the public key of a P-256 or RSA key, as the scheme of `header` says.
///
/// # Errors
/// [`SealError::Key`] where the key does not fit, or the scheme is one that a token's AES key
/// does itself.
pub fn seal(
    header: Header,
    public: &CoseKey,
    context: &Context,
    plaintext: &SecretBytes,
) -> Result<Ciphertext, SealError> {
    if suite_of(header.scheme()).is_some() {
        return keyward_seal::seal_ciphertext(header, public, context, plaintext.expose());
    }
    if header.scheme() != Scheme::RsaOaep {
        return Err(SealError::Key);
    }
    let key = content::random_key()?;
    let encrypted_key = oaep::seal(public, &key)?;
    let content::Sealed { iv, content } =
        content::seal(&key, &header.aad(context), plaintext.expose())?;
    let body = Body::RsaOaep { iv, encrypted_key };
    Ok(Ciphertext::new(header, body, content)?)
}

/// Opens what was sealed to a P-256 key, with what ECDH with [`hpke::peer_of`] its `ek` gave.
///
/// # Errors
/// [`OpenFailed`], also for a ciphertext of another scheme.
pub fn open_hpke(
    ciphertext: &Ciphertext,
    z: &SecretBytes,
    public: &CoseKey,
    context: &Context,
) -> Result<SecretBytes, OpenFailed> {
    let suite = suite_of(ciphertext.scheme()).ok_or(OpenFailed)?;
    let ek = ciphertext.ek().ok_or(OpenFailed)?;
    let aad = ciphertext.aad(context);
    hpke::open(suite, z, ek, public, &[], &aad, ciphertext.content())
}

/// Opens what was sealed to an RSA key, with the content's key that the token decrypted.
///
/// # Errors
/// [`OpenFailed`], also for a ciphertext of another scheme.
pub fn open_oaep(
    ciphertext: &Ciphertext,
    key: &SecretBytes,
    context: &Context,
) -> Result<SecretBytes, OpenFailed> {
    let Body::RsaOaep { iv, .. } = ciphertext.body() else {
        return Err(OpenFailed);
    };
    content::open(key, iv, &ciphertext.aad(context), ciphertext.content())
}

fn suite_of(scheme: Scheme) -> Option<Suite> {
    Suite::of(scheme.algorithm())
}

#[cfg(test)]
mod tests;
