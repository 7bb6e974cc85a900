//! `keyward ecdh`

use keyward_client::key_format;
use keyward_protocol::Algorithm;
use keyward_protocol::operation::{self, Kdf};

use crate::agent::connect;
use crate::arguments::{Ecdh, HkdfHash};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::io;

/// More than a public key has in any form.
const LONGEST_KEY: usize = 16 * 1024;

pub(super) fn ecdh(ecdh: Ecdh) -> Result<(), Error> {
    let output = ecdh.output.file.as_deref();
    destination::check(output, Content::SecretBinary)?;
    let bytes = io::read(Some(&ecdh.peer), LONGEST_KEY)?;
    let peer = key_format::parse(&bytes).map_err(|e| {
        let name = io::name(Some(&ecdh.peer));
        Error::usage(format!("{name} is no public key")).cause(e)
    })?;
    let kdf = ecdh.hkdf.map(|hash| Kdf {
        algorithm: match hash {
            HkdfHash::Sha256 => Algorithm::EcdhHkdfSha256,
            HkdfHash::Sha384 => Algorithm::EcdhHkdfSha384,
        },
        salt: ecdh.salt.map(Into::into),
        info: ecdh.info.map(|info| info.into_bytes().into()),
        length: ecdh.length,
    });
    let agreed = connect()?.call(operation::Ecdh {
        key: ecdh.key,
        peer,
        kdf,
        version: ecdh.version,
    })?;
    destination::write(output, Content::SecretBinary, agreed.secret.expose())
}
