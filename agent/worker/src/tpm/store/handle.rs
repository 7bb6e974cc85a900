//! What the file of a key says that is in the TPM itself, at a persistent handle, and was put there by
//! another program.

use super::bound::{hex, unhex};

/// A key at a persistent handle. The TPM has it; the file says which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The handle: TPM_HT_PERSISTENT, so that its first byte is 0x81.
    pub handle: u32,
    /// The key's Name: 0x000b, and the SHA-256 of its public area.
    pub name: Vec<u8>,
    /// Its public area, TPMT_PUBLIC.
    pub public: Vec<u8>,
}

impl Handle {
    pub(super) const HANDLE: &'static str = "handle";
    pub(super) const NAME: &'static str = "name";
    pub(super) const PUBLIC: &'static str = "public";
    /// The length of a Name.
    const NAME_LENGTH: usize = 34;

    /// Reads a handle as people write it: `0x81`, and six hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<u32> {
        let digits = text.strip_prefix("0x")?;
        let is_digits = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let handle = u32::from_str_radix(digits, 16).ok().filter(|_| is_digits)?;
        matches!(handle.to_be_bytes(), [0x81, ..]).then_some(handle)
    }

    /// The lines; `None` if they would not be read again.
    pub(super) fn to_lines(&self) -> Option<String> {
        if !self.is_whole() {
            return None;
        }
        Some(format!(
            "{}: {}\n{}: {}\n{}: {}\n",
            Self::HANDLE,
            self.written(),
            Self::NAME,
            hex(&self.name),
            Self::PUBLIC,
            hex(&self.public),
        ))
    }

    /// The handle as it is written.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{:#010x}", self.handle)
    }

    /// What the values of the lines say; `None` if it is not what is written.
    pub(super) fn from_lines(handle: &str, name: &str, public: &str) -> Option<Self> {
        let at = Self {
            handle: Self::parse(handle)?,
            name: unhex(name)?,
            public: unhex(public)?,
        };
        // One way of writing it.
        (at.is_whole() && at.written() == handle).then_some(at)
    }

    fn is_whole(&self) -> bool {
        matches!(self.handle.to_be_bytes(), [0x81, ..])
            && self.name.len() == Self::NAME_LENGTH
            && !self.public.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at() -> Handle {
        Handle {
            handle: 0x8100_0010,
            name: [&[0, 0x0b][..], &[7; 32]].concat(),
            public: vec![0, 0x23],
        }
    }

    #[test]
    fn the_lines_are_what_their_documentation_says() {
        let name = format!("000b{}", "07".repeat(32));
        let lines = format!("handle: 0x81000010\nname: {name}\npublic: 0023\n");
        assert_eq!(at().to_lines().unwrap(), lines);
        assert_eq!(Handle::from_lines("0x81000010", &name, "0023"), Some(at()));
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        let name = format!("000b{}", "07".repeat(32));
        for (handle, name, public) in [
            ("0x81ABCDEF", name.as_str(), "0023"),
            ("81000010", &name, "0023"),
            ("0x80000010", &name, "0023"),
            ("0x8100001", &name, "0023"),
            ("0x81000010", &name, ""),
            ("0x81000010", &name[2..], "0023"),
            ("0x81000010", "", "0023"),
            ("0x81000010", &name, "002"),
        ] {
            let read = Handle::from_lines(handle, name, public);
            assert_eq!(read, None, "{handle} {name} {public}");
        }
    }

    #[test]
    fn only_a_persistent_handle_is_one() {
        assert_eq!(Handle::parse("0x81000010"), Some(0x8100_0010));
        assert_eq!(Handle::parse("0x81FFffff"), Some(0x81ff_ffff));
        for bad in [
            "",
            "0x",
            "81000010",
            "0x80000000",
            "0x82000000",
            "0x810000100",
            "0x+1000010",
            "9a",
            "0X81000010",
        ] {
            assert_eq!(Handle::parse(bad), None, "{bad}");
        }
    }
}
