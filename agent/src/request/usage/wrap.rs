//! `wrap`: AES-KW (RFC 3394) and AES-KWP (RFC 5649).

use std::ops::RangeInclusive;
use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Wrap, Wrapped};
use keyward_protocol::{Algorithm, ErrorCode, Failure, Purpose};

use super::place::Repeat;
use super::{Use, misbehaved, protecting, usable};
use crate::registry::Key;
use crate::request::{Entry, With};
use crate::worker::Token;

/// The most bytes that are wrapped.
const MOST: usize = 4096;
/// What both algorithms count in: a semiblock.
const BLOCK: usize = 8;

impl With<'_> {
    pub(in crate::request) async fn wrap(
        &self,
        key: &Key,
        op: Wrap,
        entry: &mut Entry,
    ) -> Result<Wrapped, Failure> {
        let algorithm = usable(key, Purpose::Wrap, op.algorithm, Use::Protect)?;
        let version = protecting(key)?;
        let length = op.plaintext.len();
        entry.algorithm = Some(algorithm);
        entry.length = Some(length);
        check_length(algorithm, length)?;
        let wrapped = wrapped_length(length);
        let work = Rc::new(Work::Wrap(message::Wrap {
            id: version.id,
            algorithm,
            plaintext: op.plaintext,
        }));
        let check = |token: &Token, outcome| match outcome {
            Outcome::Wrapped(ciphertext) if ciphertext.len() == wrapped => Ok(ciphertext),
            _ => Err(misbehaved(token)),
        };
        let ciphertext = self
            .on_token(version, Repeat::Always, entry, || Ok(work.clone()), check)
            .await?;
        Ok(Wrapped {
            ciphertext,
            algorithm,
            key: key.id_text.clone(),
            version: version.number,
        })
    }
}

fn check_length(algorithm: Algorithm, length: usize) -> Result<(), Failure> {
    let whole = matches!(algorithm, Algorithm::A128Kw | Algorithm::A256Kw);
    let (fits, what) = if whole {
        let fits = (2 * BLOCK..=MOST).contains(&length) && length.is_multiple_of(BLOCK);
        (fits, "a multiple of 8, from 16 to 4,096")
    } else {
        ((1..=MOST).contains(&length), "1 to 4,096")
    };
    if fits {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::Invalid,
        format!("{length} bytes, where {algorithm} wraps {what}"),
    ))
}

/// How long a plaintext of this length is when it is wrapped: whole blocks, and one more.
fn wrapped_length(length: usize) -> usize {
    length
        .div_ceil(BLOCK)
        .saturating_add(1)
        .saturating_mul(BLOCK)
}

/// How long what is in a wrapped key of this length can be.
pub(super) fn unwrapped_length(algorithm: Algorithm, length: usize) -> RangeInclusive<usize> {
    let most = length.saturating_sub(BLOCK);
    match algorithm {
        Algorithm::A128Kw | Algorithm::A256Kw => most..=most,
        _ => most.saturating_sub(BLOCK).saturating_add(1)..=most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_rfcs() {
        let kw = |length| check_length(Algorithm::A256Kw, length).is_ok();
        let kwp = |length| check_length(Algorithm::A128Kwp, length).is_ok();
        for length in [0, 8, 15, 17, 4097, 4104] {
            assert!(!kw(length), "{length}");
        }
        assert!(kw(16) && kw(24) && kw(4096));
        assert!(!kwp(0) && kwp(1) && kwp(7) && kwp(4096) && !kwp(4097));
        for (length, wrapped) in [(1, 16), (8, 16), (9, 24), (16, 24), (4096, 4104)] {
            assert_eq!(wrapped_length(length), wrapped);
            assert!(unwrapped_length(Algorithm::A256Kwp, wrapped).contains(&length));
        }
        assert_eq!(unwrapped_length(Algorithm::A128Kw, 24), 16..=16);
        assert_eq!(unwrapped_length(Algorithm::A128Kwp, 24), 9..=16);
    }
}
