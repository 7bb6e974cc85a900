//! DHKEM(P-256, HKDF-SHA256) (RFC 9180 §4.1) whose Diffie-Hellman was done elsewhere.
//!
//! It implements what the library hides from its documentation; the library's version is pinned,
//! and the vectors of RFC 9180 say whether it still fits.

use std::marker::PhantomData;

use hpke::hybrid_array::sizes::{U32, U65};
use hpke::kdf::{HkdfSha256, Kdf};
use hpke::kem::SharedSecret;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem, Serializable};
use keyward_protocol::SecretBytes;
use keyward_protocol::ciphertext::EK_LENGTH;

/// "KEM" and the id of DHKEM(P-256, HKDF-SHA256) (RFC 9180 §4.1, §7.1).
const SUITE_ID: [u8; 5] = *b"KEM\x00\x10";
const _: () = assert!(TokenKem::KEM_ID == 0x0010);

/// The KEM; it can decapsulate and nothing else.
pub(super) struct TokenKem<'z>(PhantomData<&'z SecretBytes>);

/// An uncompressed point, as it is hashed: public key or encapsulated key. Whether it is on the
/// curve was asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point([u8; EK_LENGTH]);

/// What stands for the private key: the one result of it that is needed.
#[derive(Clone, Copy)]
pub(super) struct TokenKey<'z> {
    pub(super) z: &'z SecretBytes,
    pub(super) public: Point,
}

impl<'z> Kem for TokenKem<'z> {
    type PublicKey = Point;
    type PrivateKey = TokenKey<'z>;
    type EncappedKey = Point;
    type NSecret = U32;
    const KEM_ID: u16 = 0x0010;

    fn sk_to_pk(key: &TokenKey<'z>) -> Point {
        key.public
    }

    /// `Decap` (RFC 9180 §4.1) from where `dh` is known: `ExtractAndExpand(dh, enc ‖ pkRm)`.
    fn decap(
        key: &TokenKey<'z>,
        sender: Option<&Point>,
        enc: &Point,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let context = [enc.0, key.public.0].concat();
        let mut secret = SharedSecret::default();
        HkdfSha256::extract_and_expand(key.z.expose(), &SUITE_ID, &context, &mut secret.0)?;
        Ok(secret)
    }

    fn encap_with_rng(
        _: &Point,
        _: Option<(&TokenKey<'z>, &Point)>,
        _: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, Point), HpkeError> {
        Err(HpkeError::EncapError)
    }

    fn derive_keypair(_: &[u8]) -> (TokenKey<'z>, Point) {
        unreachable!("the key is in the token")
    }
}

impl Serializable for Point {
    type OutputSize = U65;

    fn write_exact(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

impl Deserializable for Point {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let wrong = HpkeError::IncorrectInputLength(EK_LENGTH, bytes.len());
        bytes.try_into().map(Self).map_err(|_| wrong)
    }
}

// The library asks for these of any private key and uses none of them.

impl subtle::ConstantTimeEq for TokenKey<'_> {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.z.expose().ct_eq(other.z.expose())
    }
}

impl Serializable for TokenKey<'_> {
    type OutputSize = U32;

    fn write_exact(&self, _: &mut [u8]) {
        unreachable!("the key is in the token")
    }
}

impl Deserializable for TokenKey<'_> {
    fn from_bytes(_: &[u8]) -> Result<Self, HpkeError> {
        Err(HpkeError::ValidationError)
    }
}
