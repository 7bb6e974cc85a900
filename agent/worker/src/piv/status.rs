//! Status words (ISO 7816-4 §5.1.3, SP 800-73-4 Part 2 §2.4.2).

use std::fmt;

use keyward_backend::BackendError;

/// What a card says about a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u16);

#[allow(missing_docs, reason = "the words of the specification")]
impl Status {
    pub const SUCCESS: Self = Self(0x9000);
    pub const SECURITY_STATUS_NOT_SATISFIED: Self = Self(0x6982);
    pub const AUTHENTICATION_METHOD_BLOCKED: Self = Self(0x6983);
    pub const CONDITIONS_NOT_SATISFIED: Self = Self(0x6985);
    pub const INCORRECT_DATA: Self = Self(0x6a80);
    pub const FUNCTION_NOT_SUPPORTED: Self = Self(0x6a81);
    pub const NOT_FOUND: Self = Self(0x6a82);
    pub const NOT_ENOUGH_MEMORY: Self = Self(0x6a84);
    pub const INCORRECT_P1_P2: Self = Self(0x6a86);
    pub const REFERENCE_NOT_FOUND: Self = Self(0x6a88);
    pub const WRONG_LENGTH: Self = Self(0x6700);
    pub const WRONG_P1_P2: Self = Self(0x6b00);
    pub const INSTRUCTION_NOT_SUPPORTED: Self = Self(0x6d00);
}

impl Status {
    /// Whether it was done.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::SUCCESS
    }

    /// How many bytes can be had by GET RESPONSE, in the form that it is asked in.
    #[must_use]
    pub fn more(self) -> Option<u8> {
        match self.0.to_be_bytes() {
            [0x61, more] => Some(more),
            _ => None,
        }
    }

    /// How many tries at a PIN are left, where the word says it.
    #[must_use]
    pub fn tries(self) -> Option<u8> {
        match self.0.to_be_bytes() {
            [0x63, tries @ 0xc0..=0xcf] => Some(tries & 0x0f),
            _ if self == Self::AUTHENTICATION_METHOD_BLOCKED => Some(0),
            _ => None,
        }
    }

    /// Whether the card does not know the instruction, or not with these parameters.
    #[must_use]
    pub fn is_unknown_command(self) -> bool {
        matches!(
            self,
            Self::INSTRUCTION_NOT_SUPPORTED
                | Self::FUNCTION_NOT_SUPPORTED
                | Self::INCORRECT_P1_P2
                | Self::WRONG_P1_P2
        ) || self.0 == 0x6e00
    }

    /// What the agent hears when this was the answer to something that a card does.
    #[must_use]
    pub fn error(self, what: &str) -> BackendError {
        match self {
            Self::NOT_ENOUGH_MEMORY => BackendError::TokenFull,
            Self::INSTRUCTION_NOT_SUPPORTED | Self::FUNCTION_NOT_SUPPORTED => {
                BackendError::MechanismInvalid(format!("it does not know how to {what} ({self})"))
            }
            _ => BackendError::Refused(format!("it does not {what}: {self}")),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match *self {
            Self::SUCCESS => "done",
            Self::SECURITY_STATUS_NOT_SATISFIED => "security status not satisfied",
            Self::AUTHENTICATION_METHOD_BLOCKED => "authentication method blocked",
            Self::CONDITIONS_NOT_SATISFIED => "conditions of use not satisfied",
            Self::INCORRECT_DATA => "incorrect parameter in the command's data",
            Self::FUNCTION_NOT_SUPPORTED => "function not supported",
            Self::NOT_FOUND => "data object or application not found",
            Self::NOT_ENOUGH_MEMORY => "not enough memory",
            Self::INCORRECT_P1_P2 | Self::WRONG_P1_P2 => "incorrect parameter in P1 or P2",
            Self::REFERENCE_NOT_FOUND => "referenced data or reference data not found",
            Self::WRONG_LENGTH => "wrong length",
            Self::INSTRUCTION_NOT_SUPPORTED => "instruction not supported",
            _ => "the card says",
        };
        write!(f, "{words} ({:04x})", self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:04x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_how_many_tries_are_left() {
        for (word, tries) in [
            (0x63c0, Some(0)),
            (0x63c3, Some(3)),
            (0x63cf, Some(15)),
            (0x6983, Some(0)),
            (0x6300, None),
            (0x63d1, None),
            (0x6982, None),
            (0x9000, None),
        ] {
            assert_eq!(Status(word).tries(), tries, "{word:x}");
        }
    }

    #[test]
    fn a_status_says_what_the_agent_does_next() {
        let of = |word: u16| Status(word).error("do it");
        assert_eq!(of(0x6a84), BackendError::TokenFull);
        assert!(matches!(of(0x6d00), BackendError::MechanismInvalid(_)));
        assert!(matches!(of(0x6a80), BackendError::Refused(_)));
        assert!(matches!(of(0x6f42), BackendError::Refused(why) if why.contains("6f42")));
    }

    #[test]
    fn more_is_there_only_after_61() {
        assert_eq!(Status(0x6100).more(), Some(0));
        assert_eq!(Status(0x6110).more(), Some(0x10));
        assert_eq!(Status(0x6010).more(), None);
    }
}
