//! The packets between agent and worker.

use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::error::BackendError;
use crate::token::{KeyReport, TokenIdentity, TokenReport, VersionId};

/// The largest packet: the default SO_SNDBUF refuses more than 212,960 bytes.
pub const MAX_PACKET: usize = 200 * 1024;

/// One packet from the agent.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Call {
    /// Chosen by the agent; the answer carries it.
    #[n(0)]
    pub id: u64,
    /// What is to be done.
    #[n(1)]
    pub work: Work,
}

/// What a worker can be asked for.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Work {
    /// Find the token and say how it is. With a pinned identity, any other token is refused.
    #[n(1)]
    Open {
        /// What the token was pinned to at enrolment.
        #[n(0)]
        pinned: Option<TokenIdentity>,
    },
    /// Log in. The agent has written its marker before.
    #[n(2)]
    Login(#[n(0)] Credential),
    /// Log out and forget the credential.
    #[n(3)]
    Logout,
    /// Make a key pair.
    #[n(4)]
    Generate(#[n(0)] Generate),
    /// Show a key; `None` in the answer if there is no such object.
    #[n(5)]
    Inspect(#[n(0)] VersionId),
    /// Destroy all objects with the id; done also if there are none.
    #[n(6)]
    Destroy(#[n(0)] VersionId),
    /// Sign.
    #[n(7)]
    Sign(#[n(0)] Sign),
    /// Open what was encrypted to the key.
    #[n(8)]
    Unwrap(#[n(0)] Unwrap),
    /// The x coordinate of the point that key and peer share (SP 800-56A §5.7.1.2).
    #[n(9)]
    Derive(#[n(0)] Derive),
    /// Random bytes of the token's generator.
    #[n(10)]
    Random(#[n(0)] u32),
}

/// Where a PIN comes from.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub enum Credential {
    /// From a person, just now.
    #[n(1)]
    Given(#[n(0)] SecretBytes),
    /// From the worker's file, if it still is the one that the agent saw.
    #[n(2)]
    File(#[n(0)] SourceIdentity),
    /// The one that the monitor sent with the start.
    #[n(3)]
    Remembered,
}

/// Which state of a file a credential was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct SourceIdentity {
    /// st_dev.
    #[n(0)]
    pub device: u64,
    /// st_ino.
    #[n(1)]
    pub inode: u64,
    /// st_size.
    #[n(2)]
    pub size: u64,
    /// st_mtim in nanoseconds since 1970.
    #[n(3)]
    pub modified: i64,
    /// st_ctim in nanoseconds since 1970.
    #[n(4)]
    pub changed: i64,
}

/// Makes a key pair.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Generate {
    /// Chosen by the agent, and in its intent record already.
    #[n(0)]
    pub id: VersionId,
    /// CKA_LABEL: what tells keyward's own rescan which key and version it is.
    #[n(1)]
    pub label: String,
    /// What kind of key.
    #[n(2)]
    pub key_type: KeyType,
    /// What it is for: decides the usage attributes.
    #[n(3)]
    pub purpose: Purpose,
}

/// Signs with a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sign {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// How.
    #[n(1)]
    pub algorithm: Algorithm,
    /// What; a digest has the right length already.
    #[n(2)]
    pub input: SignInput,
}

/// Opens what was encrypted to a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Unwrap {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// How.
    #[n(1)]
    pub algorithm: Algorithm,
    /// What.
    #[n(2)]
    pub ciphertext: ByteVec,
    /// OAEP's label.
    #[n(3)]
    pub label: ByteVec,
}

/// Agrees with a peer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Derive {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// The peer's key, on the same curve.
    #[n(1)]
    pub peer: CoseKey,
}

/// One packet from the worker.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    /// The id of the call.
    #[n(0)]
    pub id: u64,
    /// What became of it.
    #[n(1)]
    pub outcome: Outcome,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Outcome {
    /// It failed.
    #[n(0)]
    Failed(#[n(0)] BackendError),
    /// Done; nothing to say.
    #[n(1)]
    Done,
    /// The token, after an open or a login.
    #[n(2)]
    Token(#[n(0)] TokenReport),
    /// The key, after generate or inspect.
    #[n(3)]
    Key(#[n(0)] Option<KeyReport>),
    /// A signature in COSE's form.
    #[n(4)]
    Signature(#[n(0)] ByteVec),
    /// A plaintext, a shared secret, or random bytes.
    #[n(5)]
    Secret(#[n(0)] SecretBytes),
}
