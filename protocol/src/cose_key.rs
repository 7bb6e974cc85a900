//! Public keys as COSE_Key (RFC 9052 §7, RFC 9053 §7, RFC 8230 §4).

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::algorithm::KeyType;

/// A public key.
///
/// EC points are uncompressed at full width, RSA numbers have no leading zeros: each key has one
/// encoding, so that equal keys have equal bytes. That the point is on the curve is checked by
/// whoever computes with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoseKey {
    /// kty 2 on P-256: x and y of 32 bytes.
    P256 {
        /// The x coordinate, big-endian.
        x: [u8; 32],
        /// The y coordinate, big-endian.
        y: [u8; 32],
    },
    /// kty 2 on P-384: x and y of 48 bytes.
    P384 {
        /// The x coordinate, big-endian.
        x: [u8; 48],
        /// The y coordinate, big-endian.
        y: [u8; 48],
    },
    /// kty 1 on Ed25519 (RFC 8032).
    Ed25519 {
        /// The encoded point.
        x: [u8; 32],
    },
    /// kty 3: RSA.
    Rsa {
        /// The modulus, big-endian, without leading zeros.
        n: Vec<u8>,
        /// The public exponent, big-endian, without leading zeros.
        e: Vec<u8>,
    },
}

const KTY: i64 = 1;
const KTY_OKP: i64 = 1;
const KTY_EC2: i64 = 2;
const KTY_RSA: i64 = 3;
const CRV_P256: i64 = 1;
const CRV_P384: i64 = 2;
const CRV_ED25519: i64 = 6;
/// The largest modulus that is accepted, in bytes.
const MAX_MODULUS: usize = 1024;
/// The largest public exponent that is accepted, in bytes.
const MAX_EXPONENT: usize = 8;

impl CoseKey {
    /// An EC key of its coordinates at full width; `None` for widths of no known curve.
    #[must_use]
    pub fn ec2(x: &[u8], y: &[u8]) -> Option<Self> {
        if let (Ok(x), Ok(y)) = (x.try_into(), y.try_into()) {
            return Some(Self::P256 { x, y });
        }
        let (x, y) = (x.try_into().ok()?, y.try_into().ok()?);
        Some(Self::P384 { x, y })
    }

    /// An EC key of its uncompressed point (SEC 1 §2.3.3: 04 ‖ x ‖ y).
    #[must_use]
    pub fn from_sec1(point: &[u8]) -> Option<Self> {
        let (&0x04, xy) = point.split_first()? else {
            return None;
        };
        if xy.len() % 2 != 0 {
            return None;
        }
        let (x, y) = xy.split_at_checked(xy.len() / 2)?;
        Self::ec2(x, y)
    }

    /// An RSA key; leading zeros are dropped. `None` for sizes that nobody uses.
    #[must_use]
    pub fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let fits = (128..=MAX_MODULUS).contains(&n.len()) && (1..=MAX_EXPONENT).contains(&e.len());
        let odd = n.last()? & 1 == 1 && e.last()? & 1 == 1;
        (fits && odd && e != [1]).then(|| Self::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    /// The uncompressed point (SEC 1 §2.3.3), for EC keys.
    #[must_use]
    pub fn to_sec1(&self) -> Option<Vec<u8>> {
        let (x, y): (&[u8], &[u8]) = match self {
            Self::P256 { x, y } => (x, y),
            Self::P384 { x, y } => (x, y),
            _ => return None,
        };
        Some([&[0x04], x, y].concat())
    }

    /// What kind of key it is; `None` for an RSA key of a size that keyward does not make.
    #[must_use]
    pub fn key_type(&self) -> Option<KeyType> {
        match self {
            Self::P256 { .. } => Some(KeyType::P256),
            Self::P384 { .. } => Some(KeyType::P384),
            Self::Ed25519 { .. } => Some(KeyType::Ed25519),
            // A modulus whose first bit is 0 is a bit shorter than its bytes.
            Self::Rsa { n, .. } => match (n.len(), n.first()) {
                (256, Some(0x80..)) => Some(KeyType::Rsa2048),
                (384, Some(0x80..)) => Some(KeyType::Rsa3072),
                (512, Some(0x80..)) => Some(KeyType::Rsa4096),
                _ => None,
            },
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

impl<C> Encode<C> for CoseKey {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let mut ec2 = |curve: i64, x: &[u8], y: &[u8]| {
            e.map(4)?.i64(KTY)?.i64(KTY_EC2)?.i64(-1)?.i64(curve)?;
            e.i64(-2)?.bytes(x)?.i64(-3)?.bytes(y)?.ok()
        };
        match self {
            Self::P256 { x, y } => ec2(CRV_P256, x, y),
            Self::P384 { x, y } => ec2(CRV_P384, x, y),
            Self::Ed25519 { x } => {
                e.map(3)?
                    .i64(KTY)?
                    .i64(KTY_OKP)?
                    .i64(-1)?
                    .i64(CRV_ED25519)?;
                e.i64(-2)?.bytes(x)?.ok()
            }
            Self::Rsa { n, e: exponent } => {
                e.map(3)?.i64(KTY)?.i64(KTY_RSA)?;
                e.i64(-1)?.bytes(n)?.i64(-2)?.bytes(exponent)?.ok()
            }
        }
    }
}

impl<'b, C> Decode<'b, C> for CoseKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let fields = d.map()?;
        let (label, kty) = (d.i64()?, d.i64()?);
        let key = match (fields, label, kty) {
            (Some(4), KTY, KTY_EC2) => {
                let curve = labelled(d, -1, Decoder::i64)?;
                let x = labelled(d, -2, Decoder::bytes)?;
                let y = labelled(d, -3, Decoder::bytes)?;
                Self::ec2(x, y).filter(|key| {
                    matches!(
                        (curve, key),
                        (CRV_P256, Self::P256 { .. }) | (CRV_P384, Self::P384 { .. })
                    )
                })
            }
            (Some(3), KTY, KTY_OKP) => {
                let curve = labelled(d, -1, Decoder::i64)?;
                let x = labelled(d, -2, Decoder::bytes)?;
                x.try_into()
                    .ok()
                    .filter(|_| curve == CRV_ED25519)
                    .map(|x| Self::Ed25519 { x })
            }
            (Some(3), KTY, KTY_RSA) => {
                let n = labelled(d, -1, Decoder::bytes)?;
                let e = labelled(d, -2, Decoder::bytes)?;
                let minimal = n.first() != Some(&0) && e.first() != Some(&0);
                Self::rsa(n, e).filter(|_| minimal)
            }
            _ => None,
        };
        key.ok_or_else(|| decode::Error::message("not a public COSE_Key of a known kind"))
    }
}

/// A value under the label that must come next.
fn labelled<'b, T>(
    d: &mut Decoder<'b>,
    label: i64,
    value: impl FnOnce(&mut Decoder<'b>) -> Result<T, decode::Error>,
) -> Result<T, decode::Error> {
    if d.i64()? != label {
        return Err(decode::Error::message("not the label that comes next"));
    }
    value(d)
}
