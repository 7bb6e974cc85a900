//! Files of any size, encrypted for keys of the agent: the age format, version 1.
//!
//! The format is <https://age-encryption.org/v1> (C2SP). The header has a stanza of the type
//! `keyward` for each key: its id, its version, and the file key as the agent encrypted it. The
//! payload never passes through the agent. Stanzas of other types are allowed and skipped.
//!
//! [`Encryptor`] and [`Decryptor`] know the format and no agent; [`agent`] makes and opens file
//! keys by one.
//!
//! ```
//! use keyward_client::age::{Decryptor, Encryptor, FileKey, Stanza};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = FileKey::random()?;
//! let stanza = Stanza { arguments: vec!["example.com/mine".into()], body: vec![1, 2, 3] };
//! let mut file = Vec::new();
//! Encryptor::new(&key, vec![stanza])?.encrypt(&b"hello"[..], &mut file, |_| {})?;
//!
//! let sealed = Decryptor::read(&file[..])?;
//! assert_eq!(sealed.stanzas()[0].body, [1, 2, 3]);
//! let mut text = Vec::new();
//! sealed.open(&key)?.write_to(&mut text, |_| {})?;
//! assert_eq!(text, b"hello");
//! # Ok(())
//! # }
//! ```

pub mod agent;
mod error;
mod file;
mod file_key;
mod header;
mod payload;
mod pipeline;

pub use error::{HeaderError, NoRandomness, PayloadError};
pub use file::{Decryptor, Encryptor, EncryptorError, Payload};
pub use file_key::FileKey;
pub use header::{Header, MAX_HEADER, MAX_STANZAS, Stanza};
