//! Structures of TPM 2.0 Library Part 2, as far as an attestation has them. Each has one encoding;
//! bytes behind it are refused.

mod reader;

use sha2::{Digest, Sha256, Sha384};

use crate::cose_key::CoseKey;
use reader::Reader;

/// TPM_GENERATED_VALUE: what a restricted key signs begins with it, and with nothing else that is
/// given to it from outside (§6.2).
const TPM_GENERATED: u32 = 0xff54_4347;
/// TPM_ST_ATTEST_CERTIFY (§6.9).
const ATTEST_CERTIFY: u16 = 0x8017;

const ALG_RSA: u16 = 0x0001;
const ALG_AES: u16 = 0x0006;
const ALG_SHA256: u16 = 0x000b;
const ALG_SHA384: u16 = 0x000c;
const ALG_NULL: u16 = 0x0010;
const ALG_RSAES: u16 = 0x0015;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECDAA: u16 = 0x001a;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const CURVE_P256: u16 = 0x0003;
const CURVE_P384: u16 = 0x0004;
/// The exponent that 0 stands for (§12.2.3.5).
const DEFAULT_EXPONENT: u32 = 65_537;

/// Why bytes are no structure that is wanted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// It ends too early.
    #[error("it is cut short")]
    Truncated,
    /// It ends too late.
    #[error("bytes follow it")]
    Trailing,
    /// An algorithm, curve or type that has no use here.
    #[error("{0} of a kind that keyward does not know")]
    Unknown(&'static str),
    /// A number that can't be.
    #[error("{0} is none of its kind")]
    Value(&'static str),
    /// It was not made by a TPM.
    #[error("it does not say that a TPM made it")]
    NotGenerated,
    /// It says something else about something else.
    #[error("it is no TPM2_Certify")]
    NotCertify,
}

/// A digest by which names are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameHash {
    /// TPM_ALG_SHA256.
    Sha256,
    /// TPM_ALG_SHA384.
    Sha384,
}

impl NameHash {
    fn read(reader: &mut Reader<'_>) -> Result<Self, TpmError> {
        match reader.u16()? {
            ALG_SHA256 => Ok(Self::Sha256),
            ALG_SHA384 => Ok(Self::Sha384),
            _ => Err(TpmError::Unknown("a digest")),
        }
    }

    /// How long the digest is, in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    fn name(self, public: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => [&ALG_SHA256.to_be_bytes()[..], &Sha256::digest(public)].concat(),
            Self::Sha384 => [&ALG_SHA384.to_be_bytes()[..], &Sha384::digest(public)].concat(),
        }
    }
}

/// TPMA_OBJECT (§8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub u32);

impl Attributes {
    /// It can't be taken to another TPM.
    pub const FIXED_TPM: u32 = 1 << 1;
    /// It can't be taken to another parent.
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// The TPM made its private part.
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    /// Its authorization value is enough to use it.
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    /// What administers it needs its policy.
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    /// It works on what the TPM made, and on nothing that is given to it.
    pub const RESTRICTED: u32 = 1 << 16;
    /// It decrypts.
    pub const DECRYPT: u32 = 1 << 17;
    /// It signs.
    pub const SIGN: u32 = 1 << 18;

    /// Whether all of these are set.
    #[must_use]
    pub const fn has(self, wanted: u32) -> bool {
        self.0 & wanted == wanted
    }

    /// Whether none of these is set.
    #[must_use]
    pub const fn lacks(self, unwanted: u32) -> bool {
        self.0 & unwanted == 0
    }
}

/// TPMT_PUBLIC of an EC or RSA key (§12.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// Its nameAlg.
    pub name_hash: NameHash,
    /// What may be done with it.
    pub attributes: Attributes,
    /// Its authPolicy; empty if it has none.
    pub policy: Vec<u8>,
    /// The bits of the AES key by which it protects what is below it, in CFB mode.
    pub aes_bits: Option<u16>,
    /// Whether it does ECDSA with SHA-256, and nothing else.
    pub is_ecdsa_sha256: bool,
    /// The key.
    pub key: CoseKey,
    /// Its name: nameAlg, and the digest of the structure (Part 1 §16).
    pub name: Vec<u8>,
}

impl Public {
    /// Reads the structure.
    ///
    /// # Errors
    /// See [`TpmError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new(bytes);
        let key_type = reader.u16()?;
        let name_hash = NameHash::read(&mut reader)?;
        let attributes = Attributes(reader.u32()?);
        let policy = reader.sized()?.to_vec();
        if !policy.is_empty() && policy.len() != name_hash.length() {
            return Err(TpmError::Value("its policy"));
        }
        let aes_bits = symmetric(&mut reader)?;
        let scheme = scheme(&mut reader)?;
        let key = match key_type {
            ALG_ECC => ecc(&mut reader)?,
            ALG_RSA => rsa(&mut reader)?,
            _ => return Err(TpmError::Unknown("a key")),
        };
        reader.end()?;
        Ok(Self {
            name_hash,
            attributes,
            policy,
            aes_bits,
            is_ecdsa_sha256: scheme == (ALG_ECDSA, ALG_SHA256),
            key,
            name: name_hash.name(bytes),
        })
    }
}

/// TPMT_SYM_DEF_OBJECT (§11.1.7).
fn symmetric(reader: &mut Reader<'_>) -> Result<Option<u16>, TpmError> {
    match reader.u16()? {
        ALG_NULL => Ok(None),
        ALG_AES => {
            let bits = reader.u16()?;
            match (bits, reader.u16()?) {
                (128 | 256, ALG_CFB) => Ok(Some(bits)),
                _ => Err(TpmError::Unknown("a cipher")),
            }
        }
        _ => Err(TpmError::Unknown("a cipher")),
    }
}

/// TPMT_RSA_SCHEME and TPMT_ECC_SCHEME (§11.2.4, §11.2.5.6): algorithm and digest.
fn scheme(reader: &mut Reader<'_>) -> Result<(u16, u16), TpmError> {
    match reader.u16()? {
        ALG_NULL => Ok((ALG_NULL, ALG_NULL)),
        ALG_RSAES => Ok((ALG_RSAES, ALG_NULL)),
        ALG_ECDAA => Err(TpmError::Unknown("a scheme")),
        other @ 0x0014..=0x001d => Ok((other, reader.u16()?)),
        _ => Err(TpmError::Unknown("a scheme")),
    }
}

fn ecc(reader: &mut Reader<'_>) -> Result<CoseKey, TpmError> {
    let width = match reader.u16()? {
        CURVE_P256 => 32,
        CURVE_P384 => 48,
        _ => return Err(TpmError::Unknown("a curve")),
    };
    // TPMT_KDF_SCHEME (§11.2.3).
    if reader.u16()? != ALG_NULL {
        reader.u16()?;
    }
    let x = full_width(reader.sized()?, width)?;
    let y = full_width(reader.sized()?, width)?;
    CoseKey::ec2(&x, &y).ok_or(TpmError::Value("its point"))
}

fn rsa(reader: &mut Reader<'_>) -> Result<CoseKey, TpmError> {
    let bits = usize::from(reader.u16()?);
    let exponent = match reader.u32()? {
        0 => DEFAULT_EXPONENT,
        other => other,
    };
    let modulus = reader.sized()?;
    let key = CoseKey::rsa(modulus, &exponent.to_be_bytes());
    key.filter(|_| modulus.first() >= Some(&0x80) && modulus.len().saturating_mul(8) == bits)
        .ok_or(TpmError::Value("its modulus"))
}

/// A number with its leading zeros: some TPMs leave them out.
fn full_width(number: &[u8], width: usize) -> Result<Vec<u8>, TpmError> {
    let zeros = width
        .checked_sub(number.len())
        .filter(|_| !number.is_empty())
        .ok_or(TpmError::Value("a number"))?;
    Ok([vec![0; zeros].as_slice(), number].concat())
}

/// TPMS_ATTEST of TPM2_Certify (§10.12.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certify {
    /// extraData: what the caller wanted to be signed with it.
    pub qualifying_data: Vec<u8>,
    /// The name of the key that it is about.
    pub name: Vec<u8>,
}

impl Certify {
    /// Reads the structure. Its clock and the firmware's version are read over.
    ///
    /// # Errors
    /// See [`TpmError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TpmError> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != TPM_GENERATED {
            return Err(TpmError::NotGenerated);
        }
        if reader.u16()? != ATTEST_CERTIFY {
            return Err(TpmError::NotCertify);
        }
        let _qualified_signer = reader.sized()?;
        let qualifying_data = reader.sized()?.to_vec();
        let _clock = reader.take(8)?;
        let _reset_and_restart = reader.take(8)?;
        if reader.u8()? > 1 {
            return Err(TpmError::Value("a yes or no"));
        }
        let _firmware = reader.take(8)?;
        let name = reader.sized()?.to_vec();
        let _qualified_name = reader.sized()?;
        reader.end()?;
        Ok(Self {
            qualifying_data,
            name,
        })
    }
}

/// TPMT_SIGNATURE of ECDSA on P-256 with SHA-256 (§11.3.4): r and s at full width.
///
/// # Errors
/// See [`TpmError`].
pub fn parse_signature(bytes: &[u8]) -> Result<[u8; 64], TpmError> {
    let mut reader = Reader::new(bytes);
    if reader.u16()? != ALG_ECDSA || reader.u16()? != ALG_SHA256 {
        return Err(TpmError::Unknown("a signature"));
    }
    let r = full_width(reader.sized()?, 32)?;
    let s = full_width(reader.sized()?, 32)?;
    reader.end()?;
    [r, s]
        .concat()
        .try_into()
        .map_err(|_| TpmError::Value("a number"))
}
