//! Key files of TPM keys: `TSS2 PRIVATE KEY` PEM, which tpm2-openssl and others read and write
//! (draft-bottomley-tpm2-keys).
//!
//! The private part is encrypted by the TPM, to the parent: nothing here is a secret.

mod asn1;
#[cfg(test)]
mod tests;

use der::pem::{self, LineEnding};

use asn1::TpmKey;

const LABEL: &str = "TSS2 PRIVATE KEY";
/// The last line of a file. No line of keyward's before the PEM can be it.
const END: &[u8] = b"\n-----END TSS2 PRIVATE KEY-----\n";
const BEGIN: &[u8] = b"-----BEGIN TSS2 PRIVATE KEY-----";

/// A key that only the TPM which made it can load, below the same parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What is in it.
    pub kind: Kind,
    /// Whether it is used with an empty authorisation value.
    pub empty_auth: bool,
    /// The handle of its parent: a hierarchy, which stands for its ECC primary, or a persistent key.
    pub parent: u32,
    /// TPM2B_PUBLIC, with its size.
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE, with its size.
    pub private: Vec<u8>,
    /// The commands that a policy session runs before the key can be used, in their order.
    pub policy: Vec<PolicyCommand>,
    /// What people call it.
    pub description: Option<String>,
}

/// What a key file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key, for TPM2_Load.
    Loadable,
    /// Data, for TPM2_Load and TPM2_Unseal.
    Sealed,
}

/// A command of a policy session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCommand {
    /// TPM_CC.
    pub code: u32,
    /// Its parameters as they are sent, without handles.
    pub parameters: Vec<u8>,
}

/// Why there is no key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Another file is meant.
    #[error("there is no TSS2 PRIVATE KEY in it")]
    NotKeyFile,
    /// It is damaged, or was not made by this format's rules: another copy may be whole.
    #[error("the TSS2 PRIVATE KEY in it is damaged: {0}")]
    Malformed(&'static str),
    /// It is what the format allows and keyward does not use.
    #[error("the TSS2 PRIVATE KEY in it is of no use to keyward: {0}")]
    Unsupported(&'static str),
}

impl KeyFile {
    /// The longest file that is read or written, with what stands before the PEM.
    pub const MAX_LENGTH: usize = 16 * 1024;

    /// Reads a file. There may be any text before the PEM (RFC 7468 §2), and nothing behind it.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn from_pem(file: &[u8]) -> Result<Self, KeyFileError> {
        if file.len() > Self::MAX_LENGTH {
            return Err(TOO_LONG);
        }
        let (label, der) = pem::decode_vec(file).map_err(|_| no_pem(file))?;
        if label != LABEL {
            return Err(KeyFileError::NotKeyFile);
        }
        let key = TpmKey::from_der(&der).map_err(|_| BAD_DER)?.into_file()?;
        key.check()?;
        Ok(key)
    }

    /// The first of several files that stand behind each other, and the rest.
    #[must_use]
    pub fn split(files: &[u8]) -> (&[u8], &[u8]) {
        let end = files.windows(END.len()).position(|window| window == END);
        let end = end.map_or(files.len(), |at| at.saturating_add(END.len()));
        files.split_at_checked(end).unwrap_or((files, &[]))
    }

    /// The PEM, in strict DER.
    ///
    /// # Errors
    /// [`KeyFileError::Malformed`]: it would not be read again.
    pub fn to_pem(&self) -> Result<String, KeyFileError> {
        self.check()?;
        let der = TpmKey::of(self).and_then(|key| key.to_der());
        let der = der.map_err(|_| BAD_DER)?;
        match pem::encode_string(LABEL, LineEnding::LF, &der) {
            Ok(pem) if pem.len() <= Self::MAX_LENGTH => Ok(pem),
            _ => Err(TOO_LONG),
        }
    }

    fn check(&self) -> Result<(), KeyFileError> {
        if !is_sized(&self.public) {
            return Err(KeyFileError::Malformed("the size of its public part"));
        }
        if !is_sized(&self.private) {
            return Err(KeyFileError::Malformed("the size of its private part"));
        }
        // TPM_HT_PERMANENT and TPM_HT_PERSISTENT.
        match self.parent.to_be_bytes() {
            [0x40 | 0x81, ..] => Ok(()),
            _ => Err(KeyFileError::Malformed("the handle of its parent")),
        }
    }
}

const TOO_LONG: KeyFileError = KeyFileError::Malformed("it is longer than 16 KiB");
const BAD_DER: KeyFileError = KeyFileError::Malformed("its DER");

fn no_pem(file: &[u8]) -> KeyFileError {
    match file.windows(BEGIN.len()).any(|window| window == BEGIN) {
        true => KeyFileError::Malformed("its PEM"),
        false => KeyFileError::NotKeyFile,
    }
}

/// A TPM2B that is not empty: its size, and as many bytes.
fn is_sized(bytes: &[u8]) -> bool {
    bytes.split_first_chunk().is_some_and(|(size, rest)| {
        !rest.is_empty() && usize::from(u16::from_be_bytes(*size)) == rest.len()
    })
}
