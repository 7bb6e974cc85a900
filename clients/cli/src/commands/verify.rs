//! `keyward verify`

use std::path::Path;

use keyward_client::key_format;
use keyward_protocol::operation::{self, GetPublicKey};
use keyward_protocol::{Algorithm, KeyType};

use crate::agent::connect;
use crate::arguments::{SignatureForm, Verify};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;

/// More than the signature of any algorithm has.
const LONGEST_SIGNATURE: usize = 1024;

pub(super) fn verify(verify: Verify) -> Result<(), Error> {
    let stdin = Some(Path::new("-"));
    let digest = verify.message.digest.is_some() || verify.message.digest_file.is_some();
    let message = verify.message.file.as_deref().or(stdin);
    if !digest && message == stdin && Some(verify.signature.as_path()) == stdin {
        return Err(Error::usage(
            "stdin can't be both the message and its signature",
        ));
    }
    let mut agent = connect()?;
    let signature = io::read(Some(&verify.signature), LONGEST_SIGNATURE)?;
    let input = super::sign::input(&mut agent, &verify.key, verify.algorithm, &verify.message)?;
    let width = match (verify.encoding, verify.algorithm) {
        (SignatureForm::Raw, _) => None,
        (_, Some(Algorithm::Esp256)) => KeyType::P256.coordinate_length(),
        (_, Some(Algorithm::Esp384)) => KeyType::P384.coordinate_length(),
        (_, Some(_)) => None,
        (_, None) => {
            let public = agent.call(GetPublicKey {
                key: verify.key.clone(),
                version: verify.version,
            })?;
            public
                .cose_key
                .key_type()
                .and_then(KeyType::coordinate_length)
        }
    };
    let signature = match width {
        None => signature,
        Some(width) => key_format::ecdsa_from_der(&signature, width).map_err(|e| {
            let raw = signature.len() == width.saturating_mul(2);
            let error = mismatch().cause(e);
            if raw {
                error.hint("add --encoding raw")
            } else {
                error
            }
        })?,
    };
    let answer = agent.call(operation::Verify {
        key: verify.key,
        algorithm: verify.algorithm,
        input,
        signature: signature.into(),
        version: verify.version,
    })?;
    if answer.valid {
        Ok(())
    } else {
        Err(mismatch())
    }
}

fn mismatch() -> Error {
    Error::new(Exit::Negative, "the signature does not match")
}
