//! The encryption context: what must be said again to open a ciphertext.

use std::collections::BTreeMap;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::cbor;

/// Names and values that are authenticated with a ciphertext but are not in it.
///
/// They say what a plaintext is for (`tenant`, `file`): under another context nothing opens. They
/// are not secret, and a policy can test them; but they are the caller's words, and the log has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context(BTreeMap<String, String>);

/// Why names and values are no encryption context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// More than [`Context::MAX_ENTRIES`] names.
    #[error("an encryption context has at most {} names", Context::MAX_ENTRIES)]
    TooMany,
    /// A name is empty or longer than [`Context::MAX_NAME`] bytes.
    #[error("a name of an encryption context has 1 to {} bytes", Context::MAX_NAME)]
    Name,
    /// A value is longer than [`Context::MAX_VALUE`] bytes.
    #[error(
        "a value of an encryption context has at most {} bytes",
        Context::MAX_VALUE
    )]
    Value,
    /// Encoded it is longer than [`Context::MAX_ENCODED`] bytes.
    #[error(
        "an encryption context has at most {} bytes in all",
        Context::MAX_ENCODED
    )]
    TooLarge,
}

impl Context {
    /// How many names there can be.
    pub const MAX_ENTRIES: usize = 16;
    /// The longest name, in bytes of UTF-8.
    pub const MAX_NAME: usize = 128;
    /// The longest value, in bytes of UTF-8.
    pub const MAX_VALUE: usize = 512;
    /// The longest context as deterministic CBOR, in bytes.
    pub const MAX_ENCODED: usize = 4096;

    /// A context of its names and values.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub fn new(entries: BTreeMap<String, String>) -> Result<Self, ContextError> {
        if entries.len() > Self::MAX_ENTRIES {
            return Err(ContextError::TooMany);
        }
        for (name, value) in &entries {
            if !(1..=Self::MAX_NAME).contains(&name.len()) {
                return Err(ContextError::Name);
            }
            if value.len() > Self::MAX_VALUE {
                return Err(ContextError::Value);
            }
        }
        let context = Self(entries);
        if cbor::encode(&context).len() > Self::MAX_ENCODED {
            return Err(ContextError::TooLarge);
        }
        Ok(context)
    }

    /// The names and values.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether it has no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The context as `external_aad` (RFC 9052 §5.3): the deterministic encoding of its map, or
    /// no bytes if it is empty, as COSE has it where an application supplies none.
    #[must_use]
    pub fn external_aad(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        cbor::encode(self)
    }
}

impl TryFrom<BTreeMap<String, String>> for Context {
    type Error = ContextError;

    fn try_from(entries: BTreeMap<String, String>) -> Result<Self, ContextError> {
        Self::new(entries)
    }
}

impl<C> Encode<C> for Context {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        // A BTreeMap goes by the text, RFC 8949 §4.2.1 by the encoding, in which the length comes
        // first.
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|(name, _)| (name.len(), *name));
        e.map(u64::try_from(sorted.len()).unwrap_or(u64::MAX))?;
        for (name, value) in sorted {
            e.str(name)?.str(value)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Context {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let mut entries = BTreeMap::new();
        for _ in 0..d.map()?.unwrap_or(u64::MAX) {
            if entries.len() == Self::MAX_ENTRIES {
                return Err(decode::Error::message(ContextError::TooMany));
            }
            entries.insert(d.str()?.to_owned(), d.str()?.to_owned());
        }
        Self::new(entries).map_err(decode::Error::message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(entries: impl IntoIterator<Item = (String, String)>) -> Result<Context, ContextError> {
        Context::new(entries.into_iter().collect())
    }

    #[test]
    fn a_context_has_limits() {
        let names = |count: usize| (0..count).map(|i| (i.to_string(), String::new()));
        assert!(of(names(16)).is_ok());
        assert_eq!(of(names(17)), Err(ContextError::TooMany));
        let one = |name: usize, value: usize| of([("n".repeat(name), "v".repeat(value))]);
        assert!(one(128, 512).is_ok());
        assert!(one(1, 0).is_ok());
        assert_eq!(one(0, 1), Err(ContextError::Name));
        assert_eq!(one(129, 1), Err(ContextError::Name));
        assert_eq!(one(1, 513), Err(ContextError::Value));
        let long = |count: usize| of((0..count).map(|i| (i.to_string(), "v".repeat(500))));
        assert!(long(8).is_ok());
        assert_eq!(long(9), Err(ContextError::TooLarge));
    }

    #[test]
    fn no_context_is_no_external_aad() {
        assert!(Context::default().external_aad().is_empty());
        let context = of([("a".into(), "b".into())]).unwrap();
        assert_eq!(context.external_aad(), [0xa1, 0x61, b'a', 0x61, b'b']);
    }

    #[test]
    fn decoding_keeps_the_limits() {
        assert!(cbor::decode_exact::<Context>(&[0xa0]).is_ok());
        assert!(cbor::decode_exact::<Context>(&[0xa1, 0x60, 0x60]).is_err());
        let large: BTreeMap<String, String> =
            (10..27).map(|i| (i.to_string(), String::new())).collect();
        assert!(cbor::decode_exact::<Context>(&cbor::encode(&Context(large))).is_err());
    }
}
