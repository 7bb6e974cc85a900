//! Opens a ciphertext. Whatever is wrong with it, [`With::did_not_open`] says so.

use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::ciphertext::{Body, Ciphertext, Context};
use keyward_protocol::{Algorithm, ErrorCode, Failure, KeyState, Purpose, SecretBytes};

use crate::envelope;
use crate::registry::{Key, Version};
use crate::request::usage::place::Repeat;
use crate::request::usage::{Use, check_state, fitting, misbehaved};
use crate::request::{Entry, With};
use crate::worker::Token;

/// How the key was found, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    /// The caller named it.
    Named,
    /// The ciphertext named it.
    Found,
    /// The caller named it, and the plaintext stays inside.
    NamedToReEncrypt,
    /// The ciphertext named it, and the plaintext stays inside.
    FoundToReEncrypt,
}

/// What was inside.
pub(super) struct Opened {
    pub(super) plaintext: SecretBytes,
    pub(super) key: String,
    pub(super) version: u32,
}

impl With<'_> {
    pub(super) async fn open(
        &self,
        key: Option<&Key>,
        opens: Opens,
        bytes: &[u8],
        context: &Context,
        entry: &mut Entry,
    ) -> Result<Opened, Failure> {
        // What the caller named it may see, so it is told what is wrong with it.
        if let (Some(key), Opens::Named | Opens::NamedToReEncrypt) = (key, opens) {
            check_openable(key, key.state, opens)?;
        }
        self.may_try_to_open()?;
        let Some((key, version, ciphertext)) = key.and_then(|key| fit(key, bytes)) else {
            return Err(self.did_not_open());
        };
        check_openable(key, key.state, opens)?;
        check_openable(key, version.state, opens)?;
        entry.algorithm = Some(ciphertext.scheme().algorithm());
        let plaintext = match ciphertext.body() {
            Body::AesGcm { .. } => self.unseal(version, &ciphertext, context, entry).await,
            Body::Hpke { ek } => {
                let z = self.exchange(key, version, ek, entry).await?;
                let public = version.public.as_ref();
                let plaintext = public
                    .and_then(|public| envelope::open_hpke(&ciphertext, &z, public, context).ok());
                return self.whole(key, version, plaintext);
            }
            Body::RsaOaep { encrypted_key, .. } => {
                let unwrap = message::Unwrap {
                    id: version.id,
                    algorithm: Algorithm::RsaOaepSha256,
                    ciphertext: encrypted_key.clone().into(),
                    label: Vec::new().into(),
                };
                let content_key = self.unwrap_with(key, version, unwrap, entry).await;
                let content_key = self.opened(content_key)?;
                let plaintext = envelope::open_oaep(&ciphertext, &content_key, context).ok();
                return self.whole(key, version, plaintext);
            }
            _ => return Err(self.did_not_open()),
        };
        let plaintext = self.opened(plaintext)?;
        self.whole(key, version, Some(plaintext))
    }

    fn whole(
        &self,
        key: &Key,
        version: &Version,
        plaintext: Option<SecretBytes>,
    ) -> Result<Opened, Failure> {
        Ok(Opened {
            plaintext: plaintext.ok_or_else(|| self.did_not_open())?,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    async fn unseal(
        &self,
        version: &Version,
        ciphertext: &Ciphertext,
        context: &Context,
        entry: &mut Entry,
    ) -> Result<SecretBytes, Failure> {
        let work = Rc::new(Work::Unseal(message::Unseal {
            id: version.id,
            algorithm: ciphertext.scheme().algorithm(),
            iv: ciphertext.iv().copied().unwrap_or_default().into(),
            aad: ciphertext.aad(context).into(),
            ciphertext: ciphertext.content().to_vec().into(),
        }));
        let length = ciphertext.plaintext_length();
        let check = |token: &Token, outcome| match outcome {
            Outcome::Secret(plaintext) if plaintext.len() == length => Ok(plaintext),
            _ => Err(misbehaved(token)),
        };
        self.on_token(version, Repeat::Always, entry, || Ok(work.clone()), check)
            .await
    }
}

/// The ciphertext and the version that it is of, if it is one of the key.
fn fit<'k>(key: &'k Key, bytes: &[u8]) -> Option<(&'k Key, &'k Version, Ciphertext)> {
    let ciphertext = Ciphertext::decode(bytes).ok()?;
    let algorithm = ciphertext.scheme().algorithm();
    let offered = key.purpose.algorithms(key.key_type);
    if key.purpose != Purpose::Encrypt
        || ciphertext.kid() != key.id
        || !offered.contains(&algorithm)
    {
        return None;
    }
    let version = key.version(ciphertext.version())?;
    Some((key, version, ciphertext))
}

/// Whether a key may open at all in this state. What a compromised key sealed may come from somebody
/// else, so it is not handed out as if it were whole; but nobody loses what is theirs by saying so.
fn check_openable(key: &Key, state: KeyState, opens: Opens) -> Result<(), Failure> {
    fitting(key, Purpose::Encrypt, None)?;
    let stays_inside = matches!(opens, Opens::NamedToReEncrypt | Opens::FoundToReEncrypt);
    match state {
        KeyState::Compromised if stays_inside => Ok(()),
        KeyState::Compromised => Err(Failure::new(
            ErrorCode::WrongState,
            "the key is compromised; what it encrypted can be re-encrypted with another key, and \
             decrypted then",
        )
        .hint(format!("keyward key show {}", key.id_text))),
        state => check_state(key, state, Use::Process),
    }
}
