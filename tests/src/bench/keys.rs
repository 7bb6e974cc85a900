//! The keys of a daemon that is measured, and the requests to them.

use std::fs;

use keyward_client::{
    Client, Error,
    protocol::{
        Algorithm, CoseKey, KeyType, Purpose, Request,
        operation::{Create, Ecdh, GetPublicKey, Sign, SignInput, Unwrap},
    },
};

use super::work::{MESSAGE, SECRET, Work};
use crate::{Daemon, openssl, request::create};

/// A key for each [`Work`], by its name, and what the requests need besides.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    ciphertext: Vec<u8>,
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
        ] {
            let token = Some(token.to_owned());
            let key = Create {
                token,
                ..create(work.name(), purpose, key_type)
            };
            client.call(key).expect("the token makes a key");
        }
        let mut public = |work: Work| {
            let key = work.name().to_owned();
            let reply = client.call(GetPublicKey { key, version: None });
            reply.expect("a key shows its public part")
        };
        let file = daemon.dir().join("unwrap.der");
        fs::write(&file, public(Work::UnwrapRsa2048).spki.as_slice()).expect("a public key");
        let ciphertext = openssl::encrypt_oaep_sha256(&file, &SECRET);
        Self {
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
        }
    }

    /// Asks and waits.
    pub(crate) fn call(&self, client: &mut Client, work: Work) -> Result<(), Error> {
        match work {
            Work::SignP256 | Work::SignRsa2048 => client.call(sign(work)).map(drop),
            Work::UnwrapRsa2048 => client.call(self.unwrap()).map(drop),
            Work::EcdhP256 => client.call(self.ecdh()).map(drop),
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

    fn ecdh(&self) -> Ecdh {
        Ecdh {
            key: Work::EcdhP256.name().to_owned(),
            peer: self.peer.clone(),
            kdf: None,
            version: None,
        }
    }
}

fn sign(work: Work) -> Sign {
    Sign {
        key: work.name().to_owned(),
        algorithm: (work == Work::SignRsa2048).then_some(Algorithm::Rs256),
        input: SignInput::Message(MESSAGE.to_vec()),
    }
}
