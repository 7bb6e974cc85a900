//! AES-256-GCM as a program does it that loads the module itself.

use cryptoki::{
    error::Error,
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, ObjectHandle},
    session::Session,
};

use crate::bench::work::{PLAINTEXT, SECRET, Work};

/// The same for each: what is measured is the token.
const IV: [u8; 12] = [7; 12];

/// A key, and something to decrypt.
pub(super) struct Aes {
    key: ObjectHandle,
    ciphertext: Vec<u8>,
}

impl Aes {
    /// Makes the key, if the module encrypts with it.
    pub(super) fn open(session: &Session) -> Option<Self> {
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let key = session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .ok()?;
        match encrypt(session, key, &SECRET) {
            Ok(ciphertext) => Some(Self { key, ciphertext }),
            Err(_) => {
                session.destroy_object(key).ok()?;
                None
            }
        }
    }

    /// The key, to be destroyed.
    pub(super) fn key(&self) -> ObjectHandle {
        self.key
    }

    /// Does it once.
    pub(super) fn work(&self, session: &Session, work: Work) -> Result<(), Error> {
        match work {
            Work::Encrypt4K => encrypt(session, self.key, &PLAINTEXT).map(drop),
            Work::DataKey => {
                let mut secret = [0; 32];
                session.generate_random_slice(&mut secret)?;
                encrypt(session, self.key, &secret).map(drop)
            }
            _ => {
                let mut iv = IV;
                let params = GcmParams::new(&mut iv, &[], 128.into())?;
                let mechanism = Mechanism::AesGcm(params);
                session
                    .decrypt(&mechanism, self.key, &self.ciphertext)
                    .map(drop)
            }
        }
    }
}

fn encrypt(session: &Session, key: ObjectHandle, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut iv = IV;
    let params = GcmParams::new(&mut iv, &[], 128.into())?;
    session.encrypt(&Mechanism::AesGcm(params), key, plaintext)
}
