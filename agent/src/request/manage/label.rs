//! CKA_LABEL: what a rescan needs to know what an object is.

use std::fmt;

use keyward_protocol::{Format, Purpose};
use uuid::Uuid;

/// What every label of keyward's begins with.
pub(super) const PREFIX: &str = "keyward:";

/// Which key and version an object is: `keyward:KEY:NUMBER:PURPOSE:FORMATS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) key: Uuid,
    pub(super) number: u32,
    pub(super) purpose: Purpose,
    pub(super) formats: Vec<Format>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let formats: Vec<_> = self.formats.iter().map(|format| format.name()).collect();
        let (key, number, purpose) = (self.key, self.number, self.purpose);
        write!(f, "{PREFIX}{key}:{number}:{purpose}:{}", formats.join(","))
    }
}

impl Label {
    /// Reads a label. Whoever has the PIN can write one, so only what keyward itself would have
    /// written is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.splitn(4, ':');
        let key = Uuid::try_parse(parts.next()?).ok()?;
        let number = parts.next()?.parse().ok()?;
        let purpose = Purpose::from_name(parts.next()?)?;
        let formats = match parts.next()? {
            "" => Vec::new(),
            names => names
                .split(',')
                .map(Format::from_name)
                .collect::<Option<_>>()?,
        };
        let label = Self {
            key,
            number,
            purpose,
            formats,
        };
        (number > 0 && label.to_string() == text).then_some(label)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    #[test]
    fn a_label_is_what_keyward_writes_and_nothing_else() {
        let id = "00000000-0000-0000-0000-00000000000a";
        let good = format!("keyward:{id}:12:sign:raw,digest");
        let label = Label::parse(&good).unwrap();
        assert_eq!((label.number, label.purpose), (12, Purpose::Sign));
        assert!(Label::parse(&format!("keyward:{id}:1:agree:")).is_some());
        for bad in [
            "",
            "keyward:",
            "keyward:::::",
            &good.to_uppercase(),
            &good.replace(":12:", ":012:"),
            &good.replace(":12:", ":+12:"),
            &good.replace(":12:", ":0:"),
            &good.replace(":12:", ":4294967296:"),
            &good.replace("sign", "signs"),
            &good.replace("raw,digest", "raw,"),
            &good.replace("raw,digest", "raw, digest"),
            &good.replace("-0000-", "0000"),
            &good.replace("0a:", "0A:"),
            &format!("{good}:"),
            &format!("{good} "),
            &format!(" {good}"),
        ] {
            assert_eq!(Label::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            key in any::<u128>(),
            number in 1_u32..,
            purpose in select(Purpose::ALL.to_vec()),
            formats in subsequence(Format::ALL.to_vec(), 0..=Format::ALL.len()),
        ) {
            let label = Label { key: Uuid::from_u128(key), number, purpose, formats };
            prop_assert_eq!(Label::parse(&label.to_string()), Some(label));
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "keyward:[0-9a-f-]{0,40}:?[0-9]{0,12}:?[a-z]{0,8}:?[a-z,]{0,20}") {
            if let Some(label) = Label::parse(&text) {
                prop_assert_eq!(label.to_string(), text);
            }
        }
    }
}
