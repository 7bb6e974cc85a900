//! What a token says about a key of its own, for those who don't trust the agent (SPEC.md §13).
//!
//! Nothing here is trusted because it could be read: what is proved by it, `keyward-attestation`
//! decides.

pub mod enrolment;
pub mod piv;
pub mod tpm;

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use sha2::{Digest, Sha256};

use crate::cbor::{self, CborError};
use crate::cose_key::CoseKey;

/// The form of the documents that this version writes and reads.
pub const FORM: u32 = 1;
/// The longest document, in bytes.
pub const LONGEST: usize = 64 * 1024;
/// The shortest nonce, in bytes: nobody can have asked for all of them before.
pub const LEAST_NONCE: usize = 16;
/// The longest nonce, in bytes.
pub const MOST_NONCE: usize = 64;
/// The most certificates of one list.
pub const MOST_CERTIFICATES: usize = 4;
/// The longest certificate, in bytes.
pub const MOST_CERTIFICATE: usize = 4096;
/// What a nonce is hashed with: nothing else that a TPM signs begins so.
const NONCE_DOMAIN: &[u8] = b"keyward attestation 1\0";

/// Why bytes are not the document that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// Something else.
    #[error("it is no {0}")]
    Foreign(&'static str),
    /// A newer keyward wrote it: update this one.
    #[error("it has the form {0}, and this keyward knows {FORM}; update keyward")]
    Newer(u32),
    /// A token of a kind that this keyward does not know: update it.
    #[error("it is about a token of the unknown kind {0}; update keyward")]
    Kind(u32),
    /// It was changed, cut, or made by other rules.
    #[error("it is damaged: {0}")]
    Damaged(#[from] CborError),
    /// Longer than anything real.
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    /// A value that no such document has.
    #[error("it is damaged: {0}")]
    Value(&'static str),
}

/// What a document says of itself before anything else.
#[derive(Decode)]
#[cbor(map)]
struct Head {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
}

/// A document of a file of its own.
pub trait Document: Encode<()> + for<'b> Decode<'b, ()> {
    /// What the document begins with.
    const MAGIC: &'static str;
    /// What people call it.
    const NAME: &'static str;
    /// The kinds of token that it can be about.
    const KINDS: &'static [u32] = &[KIND_TPM];

    /// What its form says that the types don't.
    ///
    /// # Errors
    /// [`AttestationError::Value`].
    fn check(&self) -> Result<(), AttestationError>;

    /// Reads it. There is one encoding, and nothing in it that is not known.
    ///
    /// # Errors
    /// See [`AttestationError`].
    fn from_document(bytes: &[u8]) -> Result<Self, AttestationError> {
        if bytes.len() > LONGEST {
            return Err(AttestationError::TooLong);
        }
        let head: Head = match cbor::decode_known(bytes) {
            Ok(head) => head,
            Err(error) if names_itself(bytes, Self::MAGIC) => return Err(error.into()),
            Err(_) => return Err(AttestationError::Foreign(Self::NAME)),
        };
        if head.magic != Self::MAGIC {
            return Err(AttestationError::Foreign(Self::NAME));
        }
        if head.form != FORM {
            return Err(AttestationError::Newer(head.form));
        }
        let document: Self = match cbor::decode_exact(bytes) {
            Ok(document) => document,
            Err(error) => return Err(other_kind(bytes, Self::KINDS).unwrap_or(error.into())),
        };
        document.check()?;
        Ok(document)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It would not be read again.
    fn to_document(&self) -> Result<Vec<u8>, AttestationError> {
        self.check()?;
        let bytes = cbor::encode(self);
        match bytes.len() {
            0..=LONGEST => Ok(bytes),
            _ => Err(AttestationError::TooLong),
        }
    }
}

/// Whether bytes begin as such a document does, so that they were one.
fn names_itself(bytes: &[u8], magic: &str) -> bool {
    let beginning = bytes.get(..40).unwrap_or(bytes);
    let mut windows = beginning.windows(magic.len());
    windows.any(|window| window == magic.as_bytes())
}

/// The kind of token, where it is one that this version does not know.
fn other_kind(bytes: &[u8], known: &[u32]) -> Option<AttestationError> {
    let mut decoder = Decoder::new(bytes);
    for _ in 0..decoder.map().ok()?? {
        if decoder.u64().ok()? == STATEMENT {
            decoder.array().ok()?;
            let kind = decoder.u32().ok()?;
            return (!known.contains(&kind)).then_some(AttestationError::Kind(kind));
        }
        decoder.skip().ok()?;
    }
    None
}

/// The key under which a document has what its kind of token says.
const STATEMENT: u64 = 2;
/// The kind of token that is a TPM 2.0.
const KIND_TPM: u32 = 1;
/// The kind of token that is a PIV card with Yubico's extensions.
const KIND_PIV: u32 = 2;

/// A key, and what its token says about it, for one verifier who asked with a nonce.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bundle {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
    /// What the token says.
    #[n(2)]
    pub statement: Statement,
    /// What the verifier asked with; the kind of token says how it is bound.
    #[n(3)]
    pub nonce: ByteVec,
    /// The key that this is about.
    #[n(4)]
    pub key: CoseKey,
}

impl Bundle {
    /// A bundle of its parts.
    #[must_use]
    pub fn new(statement: Statement, nonce: Vec<u8>, key: CoseKey) -> Self {
        Self {
            magic: Self::MAGIC.to_owned(),
            form: FORM,
            statement,
            nonce: nonce.into(),
            key,
        }
    }
}

impl Document for Bundle {
    const MAGIC: &'static str = "keyward-attestation";
    const NAME: &'static str = "attestation bundle of keyward";
    const KINDS: &'static [u32] = &[KIND_TPM, KIND_PIV];

    fn check(&self) -> Result<(), AttestationError> {
        if !is_nonce(&self.nonce) {
            return Err(AttestationError::Value("the length of the nonce"));
        }
        match &self.statement {
            Statement::Tpm(statement) => {
                statement.key.check()?;
                certificates(&statement.chain)
            }
            Statement::Piv(statement) => statement.check(),
        }
    }
}

/// Whether a nonce has a length that is allowed.
#[must_use]
pub fn is_nonce(nonce: &[u8]) -> bool {
    (LEAST_NONCE..=MOST_NONCE).contains(&nonce.len())
}

/// What a TPM signs in the place of a nonce: its SHA-256, after words that say what for.
#[must_use]
pub fn qualifying_data(nonce: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(NONCE_DOMAIN)
        .chain_update(nonce)
        .finalize()
        .into()
}

fn certificates(list: &[ByteVec]) -> Result<(), AttestationError> {
    let fits = |certificate: &ByteVec| (1..=MOST_CERTIFICATE).contains(&certificate.len());
    match list.iter().all(fits) && list.len() <= MOST_CERTIFICATES {
        true => Ok(()),
        false => Err(AttestationError::Value("a list of certificates")),
    }
}

/// What a token says about a key: `[kind, statement]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statement {
    /// A TPM 2.0.
    Tpm(TpmStatement),
    /// A PIV card with Yubico's extensions.
    Piv(PivStatement),
}

impl<C> Encode<C> for Statement {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Tpm(statement) => {
                e.array(2)?.u32(KIND_TPM)?;
                statement.encode(e, context)
            }
            Self::Piv(statement) => {
                e.array(2)?.u32(KIND_PIV)?;
                statement.encode(e, context)
            }
        }
    }
}

impl<'b, C> Decode<'b, C> for Statement {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("not [kind, statement]"));
        }
        match d.u32()? {
            KIND_TPM => TpmStatement::decode(d, context).map(Self::Tpm),
            KIND_PIV => PivStatement::decode(d, context).map(Self::Piv),
            _ => Err(decode::Error::message("unknown kind of token")),
        }
    }
}

/// What TPM2_Certify gave, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TpmStatement {
    /// TPMT_PUBLIC of the key.
    #[n(0)]
    pub public: ByteVec,
    /// TPMS_ATTEST, as it was signed.
    #[n(1)]
    pub attest: ByteVec,
    /// TPMT_SIGNATURE over it.
    #[n(2)]
    pub signature: ByteVec,
    /// The key that signed, and of which TPM it says to be.
    #[n(3)]
    pub key: TpmIdentity,
    /// The certificate of the key that signed, and those between it and a root, DER.
    #[n(4)]
    pub chain: Vec<ByteVec>,
}

/// What ATTEST gave (Yubico's extension of PIV): a certificate of the key, by the key in slot f9. It
/// says nothing about a nonce: it is the same each time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PivStatement {
    /// The certificate of the key, DER.
    #[n(0)]
    pub certificate: ByteVec,
    /// The certificate of the key in slot f9, and those between it and a root, DER.
    #[n(1)]
    pub chain: Vec<ByteVec>,
}

impl PivStatement {
    fn check(&self) -> Result<(), AttestationError> {
        if !(1..=MOST_CERTIFICATE).contains(&self.certificate.len()) {
            return Err(AttestationError::Value("the certificate of the key"));
        }
        certificates(&self.chain)
    }
}

/// The attestation key of a TPM beside its endorsement key. That both stand here binds neither to
/// the other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TpmIdentity {
    /// TPMT_PUBLIC of the attestation key.
    #[n(0)]
    pub ak: ByteVec,
    /// TPMT_PUBLIC of the endorsement key.
    #[n(1)]
    pub ek: Option<ByteVec>,
    /// What the TPM's manufacturer left in it: certificates of endorsement keys, DER.
    #[n(2)]
    pub ek_certificates: Vec<ByteVec>,
}

impl TpmIdentity {
    fn check(&self) -> Result<(), AttestationError> {
        certificates(&self.ek_certificates)
    }
}

/// The attestation key of a token, for a verifier who is to enrol it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AttestationKey {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
    /// The key.
    #[n(2)]
    pub identity: Identity,
}

impl AttestationKey {
    /// The document of an attestation key.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            magic: Self::MAGIC.to_owned(),
            form: FORM,
            identity,
        }
    }
}

impl Document for AttestationKey {
    const MAGIC: &'static str = "keyward-attestation-key";
    const NAME: &'static str = "attestation key of keyward";

    fn check(&self) -> Result<(), AttestationError> {
        let Identity::Tpm(identity) = &self.identity;
        identity.check()
    }
}

/// The attestation key of a kind of token: `[kind, identity]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// A TPM 2.0.
    Tpm(TpmIdentity),
}

impl<C> Encode<C> for Identity {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let Self::Tpm(identity) = self;
        e.array(2)?.u32(KIND_TPM)?;
        identity.encode(e, context)
    }
}

impl<'b, C> Decode<'b, C> for Identity {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("not [kind, identity]"));
        }
        match d.u32()? {
            KIND_TPM => TpmIdentity::decode(d, context).map(Self::Tpm),
            _ => Err(decode::Error::message("unknown kind of token")),
        }
    }
}

/// SHA-256 as it stands in documents.
pub type Sha256Bytes = ByteArray<32>;
