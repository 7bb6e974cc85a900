//! Tags in the order of deterministic CBOR.
//!
//! A `BTreeMap` goes by the text (`aa` before `b`), RFC 8949 §4.2.1 by the encoded bytes, in
//! which the length comes first (`b` before `aa`).

use std::collections::BTreeMap;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encoder};

type Tags = BTreeMap<String, String>;

pub(super) fn encode<C, W: Write>(
    tags: &Tags,
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), EncodeError<W::Error>> {
    let mut sorted: Vec<_> = tags.iter().collect();
    sorted.sort_by_key(|(name, _)| (name.len(), *name));
    e.map(u64::try_from(sorted.len()).unwrap_or(u64::MAX))?;
    for (name, value) in sorted {
        e.str(name)?.str(value)?;
    }
    Ok(())
}

pub(super) fn decode<'b, C>(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Tags, DecodeError> {
    Tags::decode(d, ctx)
}

/// The same where they may be absent.
pub(super) mod optional {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Tags, Write};

    pub(in super::super) fn encode<C, W: Write>(
        tags: &Option<Tags>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match tags {
            Some(tags) => super::encode(tags, e, ctx),
            None => e.null()?.ok(),
        }
    }

    pub(in super::super) fn decode<'b, C>(
        d: &mut Decoder<'b>,
        ctx: &mut C,
    ) -> Result<Option<Tags>, DecodeError> {
        super::decode(d, ctx).map(Some)
    }

    pub(in super::super) fn is_nil(tags: &Option<Tags>) -> bool {
        tags.is_none()
    }

    pub(in super::super) fn nil() -> Option<Option<Tags>> {
        Some(None)
    }
}
