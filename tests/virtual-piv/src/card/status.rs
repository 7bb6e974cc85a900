//! Status words (ISO/IEC 7816-4, SP 800-73-4 Part 2 §3).

/// The two bytes that end each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

#[allow(missing_docs, reason = "the names of the specification")]
impl Status {
    pub const OK: Self = Self(0x9000);
    pub const WRONG_LENGTH: Self = Self(0x6700);
    pub const SECURITY_STATUS_NOT_SATISFIED: Self = Self(0x6982);
    pub const AUTHENTICATION_METHOD_BLOCKED: Self = Self(0x6983);
    pub const CONDITIONS_NOT_SATISFIED: Self = Self(0x6985);
    pub const WRONG_DATA: Self = Self(0x6a80);
    pub const NOT_FOUND: Self = Self(0x6a82);
    pub const NOT_ENOUGH_MEMORY: Self = Self(0x6a84);
    pub const WRONG_PARAMETERS: Self = Self(0x6a86);
    pub const REFERENCE_NOT_FOUND: Self = Self(0x6a88);
    pub const INSTRUCTION_NOT_SUPPORTED: Self = Self(0x6d00);
    pub const CLASS_NOT_SUPPORTED: Self = Self(0x6e00);
    pub const FAILED: Self = Self(0x6f00);

    /// A wrong PIN or PUK, and how many more may be tried: the status word has room for 15.
    #[must_use]
    pub fn tries_left(tries: u8) -> Self {
        Self(0x63c0 | u16::from(tries.min(15)))
    }

    /// More of the answer waits for GET RESPONSE; 0 stands for 256 and more.
    #[must_use]
    pub fn more(bytes: usize) -> Self {
        Self(0x6100 | u16::from(u8::try_from(bytes).unwrap_or(0)))
    }
}
