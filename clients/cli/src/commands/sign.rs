//! `keyward sign`

use keyward_client::{Client, key_format};
use keyward_protocol::frame::MAX_FRAME;
use keyward_protocol::operation::{self, Describe, SignInput};
use keyward_protocol::{Algorithm, Format};

use crate::arguments::{Message, Sign, SignatureForm};
use crate::error::Error;
use crate::exit::Exit;
use crate::io::{self, Content, ReadError};
use crate::output::plain;

/// What a frame holds besides a message: the names of things, each of which is short.
const AROUND: usize = 1024;
/// The longest message that can be sent.
pub(super) const LONGEST_MESSAGE: usize = MAX_FRAME - AROUND;

pub(super) fn sign(sign: Sign) -> Result<(), Error> {
    let output = sign.output.file.as_deref();
    io::check_output(output, Content::Binary)?;
    let mut client = super::connect()?;
    let input = input(&mut client, &sign.key, &sign.message)?;
    let made = client.call(operation::Sign {
        key: sign.key,
        algorithm: sign.algorithm,
        input,
    })?;
    let bytes = match (sign.encoding, made.algorithm) {
        (SignatureForm::Der, Algorithm::Esp256 | Algorithm::Esp384) => {
            key_format::ecdsa_to_der(&made.signature)
                .map_err(|e| Error::new(Exit::Fault, "the agent's signature is broken").cause(e))?
        }
        _ => made.signature.to_vec(),
    };
    io::write(output, Content::Binary, &bytes)
}

/// What is signed or verified.
pub(super) fn input(client: &mut Client, key: &str, message: &Message) -> Result<SignInput, Error> {
    if let Some(digest) = &message.digest {
        return Ok(SignInput::Digest(digest.clone()));
    }
    if let Some(file) = &message.digest_file {
        return Ok(SignInput::Digest(io::read(Some(file), 64)?));
    }
    match io::read(message.file.as_deref(), LONGEST_MESSAGE) {
        Ok(bytes) => Ok(SignInput::Message(bytes)),
        Err(ReadError::Io(error)) => Err(error),
        Err(ReadError::TooLarge(error)) => Err(too_large(client, key, message, error)),
    }
}

/// What can be done about a message that does not fit depends on the key.
fn too_large(client: &mut Client, key: &str, message: &Message, error: Error) -> Error {
    let description = match client.call(Describe { key: key.into() }) {
        Ok(description) => description,
        Err(error) => return error.into(),
    };
    let error = error.cause("a message goes to the agent in one piece");
    let hash = match description.algorithms.first() {
        Some(Algorithm::Ed25519) => {
            return error
                .cause("an Ed25519 key signs the message itself, so a digest can't stand for it")
                .hint("sign the file's SHA-256 sum as a message, or use a p256 key with --format digest");
        }
        Some(Algorithm::Esp384) => "sha384sum",
        _ => "sha256sum",
    };
    if description.formats.contains(&Format::Digest) {
        let file = io::name(message.file.as_deref());
        error.hint(format!(
            "keyward sign {} --digest \"$({hash} {} | cut -d ' ' -f 1)\"",
            plain(key),
            plain(&file),
        ))
    } else {
        error
            .cause(format!("the key {key} does not sign digests"))
            .hint("keyward key create ALIAS --purpose sign --type p256 --format raw,digest")
    }
}
