//! File keys made and opened by an agent: stanzas of the type `keyward`.
//!
//! A stanza is `-> keyward KEY VERSION` with the id and the version of a key; its body is the
//! file key as `encrypt` or `generate-data-key` encrypted it (SPEC.md §12). The encryption context
//! is authenticated in each of them and is not in the file.

use std::collections::BTreeMap;

use keyward_protocol::operation::{Decrypt, Encrypt, GenerateDataKey, Operation, Request};
use keyward_protocol::{ErrorCode, Failure, SecretBytes};

use super::file_key::FileKey;
use super::header::Stanza;
use crate::blocking::Client;
use crate::error::Error;

/// The type of the stanzas.
pub const STANZA: &str = "keyward";

/// What the context binds a file to: whoever opens it gives the same.
pub type Context = BTreeMap<String, String>;

/// What asks an agent and waits for the answer.
pub trait Ask {
    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// See [`Error`].
    fn ask<O: Operation + Into<Request>>(&mut self, operation: O) -> Result<O::Reply, Error>;
}

impl Ask for Client {
    fn ask<O: Operation + Into<Request>>(&mut self, operation: O) -> Result<O::Reply, Error> {
        self.call(operation)
    }
}

/// A stanza of the type `keyward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The id of the key.
    pub key: String,
    /// The version of the key.
    pub version: u32,
    /// The file key as the agent encrypted it.
    pub ciphertext: Vec<u8>,
}

impl Recipient {
    /// Takes a stanza apart: absent if it is of another type, an error if it is not as keyward
    /// writes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_stanza(stanza: &Stanza) -> Option<Result<Self, MalformedStanza>> {
        let (first, rest) = stanza.arguments.split_first()?;
        (first == STANZA).then(|| {
            let [key, version] = rest else {
                return Err(MalformedStanza);
            };
            let number = version.parse::<u32>().ok().filter(|number| *number > 0);
            match number {
                Some(number) if is_id(key) && number.to_string() == *version => Ok(Self {
                    key: key.clone(),
                    version: number,
                    ciphertext: stanza.body.clone(),
                }),
                _ => Err(MalformedStanza),
            }
        })
    }

    /// The stanza as it stands in a header.
    #[must_use]
    pub fn into_stanza(self) -> Stanza {
        Stanza {
            arguments: vec![STANZA.into(), self.key, self.version.to_string()],
            body: self.ciphertext,
        }
    }
}

/// A stanza of the type `keyward` that is not as keyward writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a keyward stanza does not have the id and the version of a key")]
pub struct MalformedStanza;

/// A UUID in lower case.
fn is_id(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    let digits = text.bytes().filter(|byte| *byte != b'-');
    groups.eq([8, 4, 4, 4, 12])
        && digits
            .into_iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Makes a file key under the first of the keys, and encrypts it under each other one.
///
/// # Errors
/// The agent refuses one of the keys, or can't be asked.
pub fn new_file_key(
    client: &mut impl Ask,
    keys: &[String],
    context: Option<&Context>,
) -> Result<(FileKey, Vec<Stanza>), SealError> {
    let (first, others) = keys.split_first().ok_or(SealError::NoKeys)?;
    let refused = |key: &String| {
        let key = key.clone();
        move |error| SealError::Agent { key, error }
    };
    let made = client
        .ask(GenerateDataKey {
            key: first.clone(),
            context: context.cloned(),
            length: u32::try_from(FileKey::LENGTH).ok(),
            with_plaintext: true,
        })
        .map_err(refused(first))?;
    let file_key = made.plaintext.and_then(FileKey::from_secret);
    let file_key = file_key.ok_or_else(|| SealError::NotAFileKey { key: first.clone() })?;
    let mut stanzas = Vec::with_capacity(keys.len());
    let recipient = Recipient {
        key: made.key,
        version: made.version,
        ciphertext: made.ciphertext.to_vec(),
    };
    stanzas.push(recipient.into_stanza());
    for key in others {
        let made = client
            .ask(Encrypt {
                key: key.clone(),
                plaintext: SecretBytes::copy_from(file_key.secret().expose()),
                context: context.cloned(),
                algorithm: None,
            })
            .map_err(refused(key))?;
        let recipient = Recipient {
            key: made.key,
            version: made.version,
            ciphertext: made.ciphertext.to_vec(),
        };
        stanzas.push(recipient.into_stanza());
    }
    Ok((file_key, stanzas))
}

/// Why there is no file key for a new file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No key was named.
    #[error("no key was named")]
    NoKeys,
    /// The agent did not do it for this key.
    #[error("there is no file key by {key}")]
    Agent {
        /// The key as it was named.
        key: String,
        /// Why not.
        #[source]
        error: Error,
    },
    /// The agent's data key can't be a file key.
    #[error("the agent made a data key of {key} that does not have 16 bytes")]
    NotAFileKey {
        /// The key as it was named.
        key: String,
    },
}

/// Asks the agent to open one stanza after the other, until it does.
///
/// # Errors
/// No stanza is of the type `keyward`, none opens, or the agent can't be asked.
pub fn open_file_key(
    client: &mut impl Ask,
    stanzas: &[Stanza],
    context: Option<&Context>,
) -> Result<FileKey, OpenError> {
    let recipients: Result<Vec<Recipient>, MalformedStanza> =
        stanzas.iter().filter_map(Recipient::from_stanza).collect();
    let recipients = recipients?;
    if recipients.is_empty() {
        let types = stanzas.iter().filter_map(|stanza| stanza.arguments.first());
        return Err(OpenError::NoStanza {
            types: types.cloned().collect(),
        });
    }
    let mut attempts = Vec::new();
    for recipient in recipients {
        let opened = client.ask(Decrypt {
            ciphertext: recipient.ciphertext.into(),
            key: Some(recipient.key.clone()),
            context: context.cloned(),
        });
        let failure = match opened.map(|opened| FileKey::from_secret(opened.plaintext)) {
            Ok(Some(file_key)) => return Ok(file_key),
            Ok(None) => Failure::new(ErrorCode::UnwrapFailed, "what it encrypted is no file key"),
            Err(Error::Refused(failure)) => failure,
            Err(error) => return Err(OpenError::Agent(error)),
        };
        attempts.push(Attempt {
            key: recipient.key,
            version: recipient.version,
            failure,
        });
    }
    Err(OpenError::Closed { attempts })
}

/// Why there is no file key for a file that is there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is for others.
    #[error("it was not encrypted for a key of an agent")]
    NoStanza {
        /// The types of its stanzas.
        types: Vec<String>,
    },
    /// A stanza that says that it is keyward's and is not.
    #[error(transparent)]
    Malformed(#[from] MalformedStanza),
    /// The agent opened none of them.
    #[error("no key that it was encrypted for opens it")]
    Closed {
        /// What the agent said, key by key.
        attempts: Vec<Attempt>,
    },
    /// The agent can't be asked.
    #[error(transparent)]
    Agent(Error),
}

/// A stanza that the agent did not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The id of the key.
    pub key: String,
    /// The version of the key.
    pub version: u32,
    /// What the agent said.
    pub failure: Failure,
}
