//! Numbers and TPM2Bs out of bytes.

use super::TpmError;

/// What is left to be read.
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], TpmError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TpmError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TpmError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, TpmError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The content of a TPM2B.
    pub(super) fn sized(&mut self) -> Result<&'b [u8], TpmError> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }

    /// That nothing is left.
    pub(super) fn end(&self) -> Result<(), TpmError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(TpmError::Trailing),
        }
    }
}
