//! What belongs to a connection: its subscription, and messages that it gives in parts.

use std::fmt;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// Tells this connection what happens from now on, as [events](crate::event), until it is closed.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subscribe {}

/// Gives the next part of a message, which the agent hashes and forgets. Then `sign` or `verify`
/// takes the stream as its input. A connection has at most 4 streams under way.
#[derive(PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Absorb {
    /// The stream's number, chosen by the client.
    #[n(0)]
    pub stream: u32,
    /// Where the part begins; 0 begins the stream anew.
    #[n(1)]
    pub offset: u64,
    /// The bytes.
    #[n(2)]
    pub bytes: ByteVec,
}

impl fmt::Debug for Absorb {
    /// Shows the length alone: what is signed is nobody else's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            offset,
            bytes,
        } = self;
        write!(f, "Absorb({stream}, {offset}, {} bytes)", bytes.len())
    }
}

/// How much was taken of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Absorbed {
    /// How many bytes there are by now.
    #[n(0)]
    pub length: u64,
}
