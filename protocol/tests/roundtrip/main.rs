//! Whatever can be said is understood as it was meant, and has one encoding.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::cbor;
use keyward_protocol::frame::{self, FrameReader};
use keyward_protocol::message::{ClientMessage, ServerMessage};
use keyward_protocol::{CoseKey, Thumbprint};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::values::{bytes, cose_key};

mod answers;
mod requests;
mod values;

/// A strategy of a struct by the strategies of its fields.
macro_rules! fields {
    ($type:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        ($($strategy,)*).prop_map(|($($field,)*)| $type { $($field),* })
    };
}

pub(crate) use fields;

/// What was accepted has no other encoding than the one that came, unless it holds what is to be ignored.
pub(crate) fn one_encoding(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = ClientMessage::decode(bytes)
        && !matches!(message, ClientMessage::Hello(_))
    {
        prop_assert_eq!(message.encode(), bytes);
    }
    if let Ok(message) = ServerMessage::decode(bytes) {
        let mut again = Vec::new();
        message.encode_into(&mut again);
        prop_assert_eq!(cbor::validate(&again), Ok(()));
        prop_assert_eq!(ServerMessage::decode(&again), Ok(message));
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        one_encoding(&bytes)?;
        let _ = CoseKey::from_spki(&bytes);
        let _ = CoseKey::from_sec1(&bytes);
    }

    #[test]
    fn frames_come_out_as_they_went_in(bodies in vec(bytes(), 0..6), step in 1_usize..900) {
        let mut stream = Vec::new();
        for body in &bodies {
            frame::write(body, frame::MAX_FRAME, &mut stream).unwrap();
        }
        let mut reader = FrameReader::default();
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            reader.push(piece);
            while let Some(frame) = reader.next_frame(frame::MAX_FRAME).unwrap() {
                out.push(frame.to_vec());
            }
        }
        prop_assert_eq!(out, bodies);
        prop_assert!(!reader.is_partial());
    }

    #[test]
    fn a_key_survives_every_form(key in cose_key()) {
        let bytes = cbor::encode(&key);
        prop_assert_eq!(&cbor::decode_exact::<CoseKey>(&bytes).unwrap(), &key);
        prop_assert_eq!(&CoseKey::from_spki(&key.to_spki().unwrap()).unwrap(), &key);
        if let Some(point) = key.to_sec1() {
            prop_assert_eq!(CoseKey::from_sec1(&point), Some(key.clone()));
        }
        let thumbprint = Thumbprint::of(&key);
        prop_assert_eq!(Thumbprint::from_hex(&thumbprint.to_string()), Some(thumbprint));
    }

    #[test]
    fn a_thumbprint_has_one_hexadecimal_form(text in "[0-9a-fA-F+ ]{62,66}") {
        if let Some(thumbprint) = Thumbprint::from_hex(&text) {
            prop_assert_eq!(thumbprint.to_string(), text);
        }
    }
}
