//! The lines of a key's file that say which values of PCRs it may be used with.

use keyward_backend::pcr::{PcrValue, is_selection, selected};

/// What a key is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// TPMT_PUBLIC of the recovery key; without it what is approved can't change.
    pub authority: Option<Vec<u8>>,
    /// What was approved: the newest is the last.
    pub approvals: Vec<Approved>,
}

/// Values that were approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// In the order of the PCRs.
    pub values: Vec<PcrValue>,
    /// The recovery key's signature in COSE's form; empty where there is no recovery key.
    pub signature: Vec<u8>,
}

impl Bound {
    /// As many approvals as a key has at the most.
    pub const MOST_APPROVALS: usize = 4;

    pub(super) const AUTHORITY: &'static str = "pcr-authority";
    pub(super) const APPROVAL: &'static str = "pcr-approval";

    /// The lines; `None` if they would not be read again.
    pub(super) fn to_lines(&self) -> Option<String> {
        if !self.is_whole() {
            return None;
        }
        let mut lines = String::new();
        if let Some(authority) = &self.authority {
            lines.push_str(&format!("{}: {}\n", Self::AUTHORITY, hex(authority)));
        }
        for approval in &self.approvals {
            let mut words: Vec<_> = approval.values.iter().map(word).collect();
            if self.authority.is_some() {
                words.push(format!("signed={}", hex(&approval.signature)));
            }
            lines.push_str(&format!("{}: {}\n", Self::APPROVAL, words.join(" ")));
        }
        Some(lines)
    }

    /// What the values of the lines say; `None` if it is not what is written.
    pub(super) fn from_lines(authority: Option<&str>, approvals: &[&str]) -> Option<Self> {
        let authority = match authority {
            Some(digits) => Some(unhex(digits)?),
            None => None,
        };
        let approvals = approvals.iter().map(|line| approved(line));
        let bound = Self {
            authority,
            approvals: approvals.collect::<Option<_>>()?,
        };
        bound.is_whole().then_some(bound)
    }

    fn is_whole(&self) -> bool {
        let most = match self.authority {
            Some(_) => Self::MOST_APPROVALS,
            None => 1,
        };
        let signed = self.authority.is_some();
        (1..=most).contains(&self.approvals.len())
            && self.authority.as_ref().is_none_or(|key| !key.is_empty())
            && self.approvals.iter().all(|approval| {
                is_selection(&selected(&approval.values)) && approval.signature.is_empty() != signed
            })
    }
}

fn word(value: &PcrValue) -> String {
    format!("{}={}", value.pcr, hex(value.value.as_slice()))
}

fn approved(line: &str) -> Option<Approved> {
    let mut approved = Approved {
        values: Vec::new(),
        signature: Vec::new(),
    };
    for word in line.split(' ') {
        // Nothing stands behind the signature.
        if !approved.signature.is_empty() {
            return None;
        }
        match word.split_once('=')? {
            ("signed", digits) => {
                approved.signature = unhex(digits).filter(|bytes| !bytes.is_empty())?;
            }
            (name, digits) => {
                let pcr: u8 = name.parse().ok()?;
                let value: [u8; 32] = unhex(digits)?.try_into().ok()?;
                // One way of writing a number.
                (pcr.to_string() == name).then_some(())?;
                approved.values.push(PcrValue {
                    pcr,
                    value: value.into(),
                });
            }
        }
    }
    Some(approved)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a' - 10),
        _ => None,
    };
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn value(pcr: u8, byte: u8) -> PcrValue {
        PcrValue {
            pcr,
            value: [byte; 32].into(),
        }
    }

    #[test]
    fn the_lines_are_what_their_documentation_says() {
        let bound = Bound {
            authority: Some(vec![0x00, 0x23]),
            approvals: vec![Approved {
                values: vec![value(7, 0xab), value(11, 0)],
                signature: vec![1, 2],
            }],
        };
        let (seven, eleven) = ("ab".repeat(32), "00".repeat(32));
        let approval = format!("7={seven} 11={eleven} signed=0102");
        assert_eq!(
            bound.to_lines().unwrap(),
            format!("pcr-authority: 0023\npcr-approval: {approval}\n")
        );
        assert_eq!(Bound::from_lines(Some("0023"), &[&approval]), Some(bound));
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        let seven = format!("7={}", "ab".repeat(32));
        let signed = format!("{seven} signed=01");
        assert!(Bound::from_lines(None, &[&seven]).is_some());
        assert!(Bound::from_lines(Some("00"), &[&signed]).is_some());
        let upper = format!("7={} signed=01", "AB".repeat(32));
        for (authority, approvals) in [
            (None, &[][..]),
            (Some("00"), &[]),
            // A signature without a key, and the other way round.
            (None, &[signed.as_str()]),
            (Some("00"), &[seven.as_str()]),
            // Nobody can approve another.
            (None, &[seven.as_str(), seven.as_str()]),
            (Some(""), &[signed.as_str()]),
            (Some("0"), &[signed.as_str()]),
            (Some("zz"), &[signed.as_str()]),
            (Some("00"), &["signed=01"]),
            (Some("00"), &[upper.as_str()]),
            (Some("00"), &[&format!("0{signed}")]),
            (Some("00"), &[&format!("2{signed}")]),
            (Some("00"), &[&format!("{signed} signed=01")]),
            (Some("00"), &[&format!("{seven} {signed}")]),
            (Some("00"), &[&format!("{seven} signed=")]),
            (Some("00"), &["7=ab signed=01"]),
            (Some("00"), &[signed.as_str(); 5]),
        ] {
            assert_eq!(
                Bound::from_lines(authority, approvals),
                None,
                "{authority:?} {approvals:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            authority: Option<[u8; 5]>,
            pcrs in proptest::collection::btree_map(0u8..=23, any::<[u8; 32]>(), 1..=24),
            signature in proptest::collection::vec(any::<u8>(), 1..80),
        ) {
            let values = pcrs.into_iter().map(|(pcr, value)| PcrValue { pcr, value: value.into() });
            let signature = authority.map_or(Vec::new(), |_| signature);
            let bound = Bound {
                authority: authority.map(|key| key.to_vec()),
                approvals: vec![Approved { values: values.collect(), signature }],
            };
            let lines = bound.to_lines().unwrap();
            let field = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let read = Bound::from_lines(field(Bound::AUTHORITY), &[field(Bound::APPROVAL).unwrap()]);
            prop_assert_eq!(read, Some(bound));
        }
    }
}
