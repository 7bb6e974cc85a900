//! `keyward hpke …`

use keyward_client::key_format;
use keyward_protocol::ciphertext::EK_LENGTH;
use keyward_protocol::operation::{self, GetPublicKey};
use keyward_protocol::{Algorithm, CoseKey};
use keyward_seal::Suite;

use super::sign::LONGEST_MESSAGE;
use crate::agent::connect;
use crate::arguments::{HpkeCommand, HpkeOpen, HpkeSeal};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::io;

pub(super) fn run(command: HpkeCommand) -> Result<(), Error> {
    match command {
        HpkeCommand::Seal(seal) => self::seal(&seal),
        HpkeCommand::Open(open) => self::open(open),
    }
}

/// More than a public key has in any form.
const LONGEST_KEY: usize = 16 * 1024;

fn seal(seal: &HpkeSeal) -> Result<(), Error> {
    let output = seal.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let algorithm = seal.shared.algorithm.unwrap_or(Algorithm::Hpke7);
    let suite = Suite::of(algorithm)
        .ok_or_else(|| Error::usage(format!("{algorithm} is not an algorithm of HPKE")))?;
    let file = seal.file.as_deref();
    let public = recipient(seal)?;
    let plaintext = io::read_secret_bytes(file, LONGEST_MESSAGE)?;
    let (info, aad) = (seal.shared.info(), seal.shared.aad());
    let sealed = keyward_seal::seal(
        suite,
        &public,
        &info.unwrap_or_default(),
        &aad.unwrap_or_default(),
        plaintext.expose(),
    )
    .map_err(|e| Error::usage("it can't be sealed").cause(e))?;
    let mut bytes = sealed.enc.to_vec();
    bytes.extend_from_slice(&sealed.ciphertext);
    destination::write(output, Content::Binary, &bytes)
}

/// The public key to seal to.
fn recipient(seal: &HpkeSeal) -> Result<CoseKey, Error> {
    if let Some(key) = &seal.to {
        let public = connect()?.call(GetPublicKey {
            key: key.clone(),
            version: None,
        })?;
        return Ok(public.cose_key);
    }
    let file = seal.public_key.as_deref();
    if io::is_stdin(file) && io::is_stdin(seal.file.as_deref()) {
        return Err(Error::usage(
            "stdin can't be both the public key and what is sealed",
        ));
    }
    key_format::parse(&io::read(file, LONGEST_KEY)?)
        .map_err(|e| Error::usage(format!("{} is no public key", io::name(file))).cause(e))
}

fn open(open: HpkeOpen) -> Result<(), Error> {
    let output = open.output.file.as_deref();
    destination::check(output, Content::Plaintext)?;
    let file = open.file.as_deref();
    let beside = match (open.enc, &open.enc_file) {
        (Some(enc), _) => Some(enc),
        (None, Some(enc)) if io::is_stdin(Some(enc)) && io::is_stdin(file) => {
            return Err(Error::usage(
                "stdin can't be both the encapsulated key and the ciphertext",
            ));
        }
        (None, Some(enc)) => Some(io::read(Some(enc), EK_LENGTH)?),
        (None, None) => None,
    };
    let bytes = io::read(file, LONGEST_MESSAGE)?;
    let (enc, ciphertext) = match beside {
        Some(enc) => (enc, bytes),
        None => match bytes.split_first_chunk::<EK_LENGTH>() {
            Some((enc, ciphertext)) => (enc.to_vec(), ciphertext.to_vec()),
            None => {
                let name = io::name(file);
                return Err(Error::usage(format!(
                    "{name} is too short to begin with an encapsulated key of {EK_LENGTH} bytes"
                ))
                .hint("--enc HEX or --enc-file FILE if the key is not in it"));
            }
        },
    };
    let (info, aad) = (open.shared.info(), open.shared.aad());
    let opened = connect()?.call(operation::HpkeOpen {
        key: open.key,
        algorithm: open.shared.algorithm,
        enc: enc.into(),
        ciphertext: ciphertext.into(),
        info: info.map(Into::into),
        aad: aad.map(Into::into),
        version: open.version,
    })?;
    destination::write(output, Content::Plaintext, opened.plaintext.expose())
}
