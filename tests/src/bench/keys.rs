//! The keys of a daemon that is measured, and the requests to them.

use std::fs;

use keyward_client::{
    Client, Error,
    protocol::{
        Algorithm, CoseKey, KeyType, Purpose, Request, SecretBytes,
        operation::{
            Create, Decrypt, Ecdh, Encrypt, GenerateDataKey, GetPublicKey, Sign, SignInput, Unwrap,
        },
    },
};

use super::work::{MESSAGE, PLAINTEXT, SECRET, Work};
use crate::{Daemon, openssl, request::create};

/// A key for each [`Work`], by its name, and what the requests need besides.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    ciphertext: Vec<u8>,
    /// A data key under the AES key, if the token has such, and 32 bytes under the P-256 key.
    sealed: [Vec<u8>; 2],
    /// The public key of the key that signs, with which the one that agrees does.
    peer: CoseKey,
}

impl Keys {
    /// Makes them in a token.
    pub(crate) fn create(daemon: &Daemon, token: &str) -> Self {
        let mut client = daemon.client();
        for (work, purpose, key_type) in [
            (Work::SignP256, Purpose::Sign, KeyType::P256),
            (Work::SignRsa2048, Purpose::Sign, KeyType::Rsa2048),
            (Work::UnwrapRsa2048, Purpose::Unwrap, KeyType::Rsa2048),
            (Work::EcdhP256, Purpose::Agree, KeyType::P256),
            (Work::Encrypt4K, Purpose::Encrypt, KeyType::Aes256),
            (Work::HpkeOpen, Purpose::Encrypt, KeyType::P256),
        ] {
            let token = Some(token.to_owned());
            let key = Create {
                token,
                ..create(work.name(), purpose, key_type)
            };
            let made = client.call(key);
            // A TPM has no AES-GCM.
            assert!(made.is_ok() || work == Work::Encrypt4K, "{made:?}");
        }
        let sealed = [Work::Encrypt4K, Work::HpkeOpen].map(|work| {
            let sealed = client.call(encrypt(work, &SECRET));
            sealed.map_or_else(|_| Vec::new(), |sealed| sealed.ciphertext.into())
        });
        let mut public = |work: Work| {
            let key = work.name().to_owned();
            let reply = client.call(GetPublicKey { key, version: None });
            reply.expect("a key shows its public part")
        };
        let file = daemon.dir().join("unwrap.der");
        fs::write(&file, public(Work::UnwrapRsa2048).spki.as_slice()).expect("a public key");
        let ciphertext = openssl::encrypt_oaep_sha256(&file, &SECRET);
        Self {
            sealed,
            ciphertext: ciphertext.expect("openssl wraps to a public key"),
            peer: public(Work::SignP256).cose_key,
        }
    }

    /// A request, for a connection that one drives oneself.
    pub(crate) fn request(&self, work: Work) -> Request {
        match work {
            Work::SignP256 | Work::SignRsa2048 => sign(work).into(),
            Work::UnwrapRsa2048 => self.unwrap().into(),
            Work::EcdhP256 => self.ecdh().into(),
            Work::Encrypt4K => encrypt(work, &PLAINTEXT).into(),
            Work::DataKey => data_key().into(),
            Work::DecryptDataKey | Work::HpkeOpen => self.decrypt(work).into(),
        }
    }

    /// Asks and waits.
    pub(crate) fn call(&self, client: &mut Client, work: Work) -> Result<(), Error> {
        match work {
            Work::SignP256 | Work::SignRsa2048 => client.call(sign(work)).map(drop),
            Work::UnwrapRsa2048 => client.call(self.unwrap()).map(drop),
            Work::EcdhP256 => client.call(self.ecdh()).map(drop),
            Work::Encrypt4K => client.call(encrypt(work, &PLAINTEXT)).map(drop),
            Work::DataKey => client.call(data_key()).map(drop),
            Work::DecryptDataKey | Work::HpkeOpen => client.call(self.decrypt(work)).map(drop),
        }
    }

    fn unwrap(&self) -> Unwrap {
        Unwrap {
            key: Work::UnwrapRsa2048.name().to_owned(),
            algorithm: None,
            ciphertext: self.ciphertext.clone().into(),
            label: None,
            version: None,
        }
    }

    fn decrypt(&self, work: Work) -> Decrypt {
        let [aes, hpke] = &self.sealed;
        let ciphertext = if work == Work::HpkeOpen { hpke } else { aes };
        Decrypt {
            ciphertext: ciphertext.clone().into(),
            key: None,
            context: None,
        }
    }

    fn ecdh(&self) -> Ecdh {
        Ecdh {
            key: Work::EcdhP256.name().to_owned(),
            peer: self.peer.clone(),
            kdf: None,
            version: None,
        }
    }
}

fn encrypt(work: Work, plaintext: &[u8]) -> Encrypt {
    Encrypt {
        key: work.name().to_owned(),
        plaintext: SecretBytes::copy_from(plaintext),
        context: None,
        algorithm: None,
    }
}

fn data_key() -> GenerateDataKey {
    GenerateDataKey {
        key: Work::Encrypt4K.name().to_owned(),
        context: None,
        length: None,
        with_plaintext: true,
    }
}

fn sign(work: Work) -> Sign {
    Sign {
        key: work.name().to_owned(),
        algorithm: (work == Work::SignRsa2048).then_some(Algorithm::Rs256),
        input: SignInput::Message(MESSAGE.to_vec()),
    }
}
