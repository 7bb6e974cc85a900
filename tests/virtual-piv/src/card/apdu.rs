//! Commands as they come from the reader (ISO/IEC 7816-3 §12.1, short and extended).

/// One command, or one piece of a chained one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// CLA
    pub class: u8,
    /// INS
    pub instruction: u8,
    /// P1
    pub p1: u8,
    /// P2
    pub p2: u8,
    /// The data field, empty if there is none.
    pub data: &'a [u8],
    /// Ne: how long the answer may be. Where the command says nothing, as long as its form allows,
    /// since clients of YubiKeys say nothing.
    pub expected: usize,
}

/// The most that a short answer holds.
const SHORT: usize = 256;
/// The most that an extended answer holds.
const EXTENDED: usize = 65_536;

impl<'a> Command<'a> {
    /// Takes a command apart. `None` if its lengths do not fit its size.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[class, instruction, p1, p2], body) = bytes.split_first_chunk()?;
        let (data, expected) = body_of(body)?;
        Some(Self {
            class,
            instruction,
            p1,
            p2,
            data,
            expected,
        })
    }

    /// Whether more pieces follow.
    #[must_use]
    pub fn is_chained(&self) -> bool {
        self.class & 0x10 != 0
    }
}

fn body_of(body: &[u8]) -> Option<(&[u8], usize)> {
    match body {
        [] => Some((&[], SHORT)),
        [le] => Some((&[], short(*le))),
        [0, high, low] => Some((&[], extended(*high, *low))),
        [0, 0, 0, ..] => None,
        [0, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            match rest.split_at_checked(length)? {
                (data, []) => Some((data, EXTENDED)),
                (data, [high, low]) => Some((data, extended(*high, *low))),
                _ => None,
            }
        }
        [lc, rest @ ..] => match rest.split_at_checked(usize::from(*lc))? {
            (data, []) => Some((data, SHORT)),
            (data, [le]) if !data.is_empty() => Some((data, short(*le))),
            _ => None,
        },
    }
}

fn short(le: u8) -> usize {
    if le == 0 { SHORT } else { usize::from(le) }
}

fn extended(high: u8, low: u8) -> usize {
    match u16::from_be_bytes([high, low]) {
        0 => EXTENDED,
        le => usize::from(le),
    }
}
