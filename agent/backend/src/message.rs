//! The packets between agent and worker.

mod card;

use keyward_protocol::attestation::{Identity, Statement};
use keyward_protocol::operation::{KeyMaterial, SignInput};
use keyward_protocol::piv::PivChoice;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::error::BackendError;
use crate::pcr::{Approve, BoundReport, MakeBound, PcrValue};
use crate::token::{KeyReport, TokenIdentity, TokenReport, VersionId};

pub use card::{ChangePuk, UnblockPin, WriteCertificate};

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
    /// What the key that it is done with is known to be.
    #[n(2)]
    pub expected: Option<Expected>,
}

/// What the registry has of a key: the token may hold another in its place by now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Expected {
    /// Where it lives: what [`KeyReport::locator`] was.
    #[n(0)]
    pub locator: String,
    /// The SHA-256 COSE Key Thumbprint of its public part (RFC 9679); a secret key has none.
    #[n(1)]
    pub thumbprint: Option<ByteArray<32>>,
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
    /// Make a key pair or a secret key.
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
    /// Put a key into the token that was made elsewhere.
    #[n(11)]
    Import(#[n(0)] Import),
    /// Encrypt with AES-GCM.
    #[n(12)]
    Seal(#[n(0)] Seal),
    /// Decrypt with AES-GCM.
    #[n(13)]
    Unseal(#[n(0)] Unseal),
    /// Wrap bytes with AES-KW or AES-KWP.
    #[n(14)]
    Wrap(#[n(0)] Wrap),
    /// Make an HMAC.
    #[n(15)]
    Mac(#[n(0)] Mac),
    /// Change the token's PIN. The agent has written its marker before.
    #[n(16)]
    ChangePin(#[n(0)] ChangePin),
    /// The keys that are on the token, in the order of their ids, behind an id.
    #[n(17)]
    Scan(#[n(0)] Option<VersionId>),
    /// Make a key, or put one into the token, that is bound to PCRs.
    #[n(20)]
    MakeBound(#[n(0)] MakeBound),
    /// The values of PCRs.
    #[n(21)]
    ReadPcrs(#[n(0)] Vec<u8>),
    /// What was approved for a bound key, and the values now; `None` for a key that is not bound.
    #[n(22)]
    Bound(#[n(0)] VersionId),
    /// Keep an approval of other values.
    #[n(23)]
    Approve(#[n(0)] Approve),
    /// Say where a key is, signed by the token's attestation key.
    #[n(18)]
    Attest(#[n(0)] Attest),
    /// Show the token's attestation key, made if there is none.
    #[n(19)]
    AttestationKey,
    /// Open a challenge to the attestation key.
    #[n(24)]
    Activate(#[n(0)] Activate),
    /// Take a key's own file back.
    #[n(30)]
    Place(#[n(0)] Place),
    /// Give back data that the token has sealed.
    #[n(33)]
    UnsealData(#[n(0)] VersionId),
    /// Take a key over that is in the token already.
    #[n(31)]
    Adopt(#[n(0)] Adopt),
    /// The certificate that the token keeps beside a key; `None` if there is none.
    #[n(40)]
    ReadCertificate(#[n(0)] VersionId),
    /// Keep a certificate beside a key.
    #[n(41)]
    WriteCertificate(#[n(0)] WriteCertificate),
    /// Change a card's PUK.
    #[n(42)]
    ChangePuk(#[n(0)] ChangePuk),
    /// Give a blocked PIN a new value.
    #[n(43)]
    UnblockPin(#[n(0)] UnblockPin),
    /// Give a card a new random management key, which it keeps behind its PIN.
    #[n(44)]
    NewManagementKey,
    /// Bring a card back to how it left the factory: all its keys are lost.
    #[n(45)]
    Reset,
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

/// Makes a key pair or a secret key.
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
    /// What a person chose of a PIV card.
    #[n(4)]
    pub piv: Option<PivChoice>,
}

/// Takes a key over that is in the token already, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Adopt {
    /// What it will be, as if the token made it.
    #[n(0)]
    pub generate: Generate,
    /// Where it is: a persistent handle such as `0x81000010`, a slot such as `9a`.
    #[n(1)]
    pub place: String,
}

/// Gives a token a key's own file back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// What [`KeyReport::blob`] was.
    #[n(1)]
    pub blob: ByteVec,
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

/// Opens what was encrypted to an RSA key, or wrapped by an AES key.
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
    /// OAEP's label; empty for AES.
    #[n(3)]
    pub label: ByteVec,
}

/// Puts a key into a token.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Import {
    /// What it will be, as if the token made it.
    #[n(0)]
    pub generate: Generate,
    /// Its private or secret part; the agent has checked that it is of the type.
    #[n(1)]
    pub material: KeyMaterial,
}

/// Encrypts with an AES-GCM key (SP 800-38D).
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Seal {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// How.
    #[n(1)]
    pub algorithm: Algorithm,
    /// The initialisation vector that the agent chose. A token that makes its own puts it into the
    /// answer instead.
    #[n(2)]
    pub iv: ByteArray<12>,
    /// What is authenticated beside.
    #[n(3)]
    pub aad: ByteVec,
    /// What is encrypted.
    #[n(4)]
    pub plaintext: SecretBytes,
}

/// Decrypts with an AES-GCM key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Unseal {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// How.
    #[n(1)]
    pub algorithm: Algorithm,
    /// The initialisation vector.
    #[n(2)]
    pub iv: ByteArray<12>,
    /// What was authenticated beside.
    #[n(3)]
    pub aad: ByteVec,
    /// What was encrypted, with its tag of 16 bytes.
    #[n(4)]
    pub ciphertext: ByteVec,
}

/// Wraps bytes with an AES key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Wrap {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// How.
    #[n(1)]
    pub algorithm: Algorithm,
    /// What.
    #[n(2)]
    pub plaintext: SecretBytes,
}

/// Makes an HMAC.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mac {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// How.
    #[n(1)]
    pub algorithm: Algorithm,
    /// Of what.
    #[n(2)]
    pub message: SecretBytes,
}

/// Says where a key is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Attest {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// What is signed with it: the digest of the verifier's nonce.
    #[n(1)]
    pub qualifying_data: ByteArray<32>,
}

/// Opens a challenge to the attestation key (TPM 2.0 Library Part 1 §24).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Activate {
    /// The content of a TPM2B_ID_OBJECT.
    #[n(0)]
    pub credential: ByteVec,
    /// The content of a TPM2B_ENCRYPTED_SECRET.
    #[n(1)]
    pub secret: ByteVec,
}

/// Changes a token's PIN.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChangePin {
    /// As it is.
    #[n(0)]
    pub old: SecretBytes,
    /// As it is to be.
    #[n(1)]
    pub new: SecretBytes,
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
    /// What was encrypted.
    #[n(6)]
    Sealed(#[n(0)] Sealed),
    /// A wrapped key.
    #[n(7)]
    Wrapped(#[n(0)] ByteVec),
    /// A message authentication code.
    #[n(8)]
    Mac(#[n(0)] ByteVec),
    /// Keys on the token.
    #[n(9)]
    Keys(#[n(0)] ScanPage),
    /// Values of PCRs.
    #[n(12)]
    Pcrs(#[n(0)] Vec<PcrValue>),
    /// What was approved for a bound key.
    #[n(13)]
    Bound(#[n(0)] Option<BoundReport>),
    /// What the token says about a key.
    #[n(10)]
    Attested(#[n(0)] Statement),
    /// The token's attestation key.
    #[n(11)]
    AttestationKey(#[n(0)] Identity),
    /// No answer yet: the call goes on once a person has touched the token.
    #[n(14)]
    TouchNeeded,
    /// Under the id [`UNASKED`]: the token is not as it was when it was looked at last.
    #[n(15)]
    Changed,
    /// The certificate beside a key, DER.
    #[n(16)]
    Certificate(#[n(0)] Option<ByteVec>),
    /// A key is destroyed, and one that nobody uses is in its place: the token can't delete keys.
    #[n(17)]
    Overwritten,
}

/// The id of what a worker says unasked; no call has it.
pub const UNASKED: u64 = 0;

/// What AES-GCM made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sealed {
    /// The initialisation vector that was used.
    #[n(0)]
    pub iv: ByteArray<12>,
    /// The ciphertext with its tag of 16 bytes.
    #[n(1)]
    pub ciphertext: ByteVec,
}

/// How many keys a page of a scan has: with labels of 256 bytes they fit into a packet.
pub const SCAN_PAGE: usize = 512;

/// Keys on a token, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ScanPage {
    /// Those whose CKA_ID has 16 bytes, at most [`SCAN_PAGE`].
    #[n(0)]
    pub keys: Vec<ScannedKey>,
    /// Whether there are more behind the last one.
    #[n(1)]
    pub more: bool,
    /// How many keys of the whole token have a CKA_ID of another length: they are not keyward's.
    #[n(2)]
    pub foreign: u32,
}

/// A private or secret key as a scan shows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ScannedKey {
    /// Its CKA_ID.
    #[n(0)]
    pub id: VersionId,
    /// Its CKA_LABEL, at most 256 bytes of UTF-8; empty if it has none.
    #[n(1)]
    pub label: String,
}
