//! The clients against a server that misbehaves.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[cfg(feature = "tokio")]
mod asynchronous;
mod blocking;
mod fake;

use keyward_protocol::SecretBytes;
use keyward_protocol::operation::{Random, RandomBytes, Status, StatusReport};

/// A request by whose length its answer is known.
fn random(length: u32) -> Random {
    Random {
        length,
        token: None,
    }
}

fn bytes(length: u32) -> RandomBytes {
    RandomBytes {
        bytes: SecretBytes::copy_from(&vec![7; length as usize]),
        token: "main".into(),
    }
}

fn length(call: &keyward_protocol::message::Call) -> u32 {
    match &call.request {
        keyward_protocol::Request::Random(random) => random.length,
        other => panic!("{other:?}"),
    }
}

fn status(keys: u64) -> StatusReport {
    StatusReport {
        software: "fake/1".into(),
        mode: "user".into(),
        started: 0,
        tokens: Vec::new(),
        protections: Vec::new(),
        keys,
        audit_records: 0,
        management_refused: None,
        connections: 1,
    }
}

const STATUS: Status = Status {};
