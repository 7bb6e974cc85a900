//! `keyward sign`

use std::io::Read;

use keyward_client::key_format;
use keyward_protocol::Algorithm;
use keyward_protocol::frame::MAX_FRAME;
use keyward_protocol::operation::{self, Absorb, Describe, SignInput};

use crate::agent::{Agent, connect};
use crate::arguments::{Message, Sign, SignatureForm};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;

/// What a frame holds besides a message: the names of things, each of which is short.
const AROUND: usize = 1024;
/// The longest message that can be sent.
pub(super) const LONGEST_MESSAGE: usize = MAX_FRAME - AROUND;

/// The number of the one stream that is under way.
const STREAM: u32 = 0;

pub(super) fn sign(sign: Sign) -> Result<(), Error> {
    let output = sign.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let mut agent = connect()?;
    let input = input(&mut agent, &sign.key, sign.algorithm, &sign.message)?;
    let made = agent.call(operation::Sign {
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
    destination::write(output, Content::Binary, &bytes)
}

/// What is signed or verified; a message that does not fit into a frame is given to the agent.
pub(super) fn input(
    agent: &mut Agent,
    key: &str,
    algorithm: Option<Algorithm>,
    message: &Message,
) -> Result<SignInput, Error> {
    if let Some(digest) = &message.digest {
        return Ok(SignInput::Digest(digest.clone()));
    }
    if let Some(file) = &message.digest_file {
        return Ok(SignInput::Digest(io::read(Some(file), 64)?));
    }
    let file = message.file.as_deref();
    let name = io::name(file);
    let unreadable = |e| Error::usage(format!("can't read {name}")).cause(e);
    let mut source = io::open(file)?;
    let mut bytes = Vec::new();
    let cap = u64::try_from(LONGEST_MESSAGE).unwrap_or(u64::MAX);
    let mut first = source.by_ref().take(cap.saturating_add(1));
    first.read_to_end(&mut bytes).map_err(unreadable)?;
    io::typed(file, bytes.len())?;
    if bytes.len() <= LONGEST_MESSAGE {
        return Ok(SignInput::Message(bytes));
    }
    must_hash(agent, key, algorithm, &name)?;
    // The byte that did not fit goes with the next part.
    let mut rest = bytes.split_off(LONGEST_MESSAGE);
    let mut offset = 0_u64;
    while !bytes.is_empty() {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        agent.call(Absorb {
            stream: STREAM,
            offset,
            bytes: std::mem::take(&mut bytes).into(),
        })?;
        offset = offset.saturating_add(length);
        bytes = std::mem::take(&mut rest);
        let room = cap.saturating_sub(u64::try_from(bytes.len()).unwrap_or(cap));
        let mut part = source.by_ref().take(room);
        part.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    Ok(SignInput::Absorbed(STREAM))
}

/// Refuses what can't be hashed in parts, before anything of it is sent.
fn must_hash(
    agent: &mut Agent,
    key: &str,
    algorithm: Option<Algorithm>,
    name: &str,
) -> Result<(), Error> {
    let algorithm = match algorithm {
        Some(algorithm) => Some(algorithm),
        None => {
            let description = agent.call(Describe { key: key.into() })?;
            description.algorithms.first().copied()
        }
    };
    if algorithm != Some(Algorithm::Ed25519) {
        return Ok(());
    }
    Err(
        Error::usage(format!("{name} has more than {LONGEST_MESSAGE} bytes"))
            .cause("Ed25519 goes over the message twice, so it can't be given in parts")
            .hint("sign the file's SHA-256 sum as a message, or use a p256 key"),
    )
}
