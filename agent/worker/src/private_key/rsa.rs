//! RSA private keys (RFC 8017 §A.1.2) whose numbers belong together.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero};
use keyward_backend::Result;
use keyward_protocol::CoseKey;
use pkcs1::RsaPrivateKeyRef;
use pkcs8::der::Decode;
use zeroize::Zeroizing;

use super::{MISMATCH, PrivateKey, Secret, invalid};

/// The numbers of an RSA private key, big-endian without leading zeros.
#[allow(missing_docs, reason = "the names of RFC 8017")]
pub struct RsaNumbers<'a> {
    pub n: &'a [u8],
    pub e: &'a [u8],
    pub d: &'a [u8],
    pub p: &'a [u8],
    pub q: &'a [u8],
    pub dp: &'a [u8],
    pub dq: &'a [u8],
    pub q_inv: &'a [u8],
}

pub(super) fn parse(der: &[u8]) -> Result<PrivateKey<'_>> {
    let key = RsaPrivateKeyRef::from_der(der).map_err(|_| invalid("it is no RSA private key"))?;
    if key.other_prime_infos.is_some() {
        return Err(invalid("an RSA key of more than two primes is of no use"));
    }
    let numbers = RsaNumbers {
        n: key.modulus.as_bytes(),
        e: key.public_exponent.as_bytes(),
        d: key.private_exponent.as_bytes(),
        p: key.prime1.as_bytes(),
        q: key.prime2.as_bytes(),
        dp: key.exponent1.as_bytes(),
        dq: key.exponent2.as_bytes(),
        q_inv: key.coefficient.as_bytes(),
    };
    let public = CoseKey::rsa(numbers.n, numbers.e)
        .filter(|key| key.key_type().is_some())
        .ok_or_else(|| invalid("an RSA key of this size is of no use"))?;
    if numbers.e != [1, 0, 1] {
        return Err(invalid("its public exponent is not 65537"));
    }
    if belong_together(&numbers) != Some(true) {
        return Err(invalid(MISMATCH));
    }
    Ok(PrivateKey {
        public,
        secret: Secret::Rsa(numbers),
    })
}

/// Whether n = p·q of two (very probably) primes, and the exponents and the coefficient are theirs.
/// `None` for numbers that can't be.
fn belong_together(key: &RsaNumbers<'_>) -> Option<bool> {
    let length = key.p.len().max(key.q.len());
    let number = |bytes: &[u8]| number(bytes, length);
    let (p, q) = (number(key.p)?, number(key.q)?);
    let product = Zeroizing::new(p.concatenating_mul(&*q));
    if *product.to_be_bytes_trimmed_vartime() != *key.n {
        return Some(false);
    }
    let d = self::number(key.d, key.n.len())?;
    let e = number(key.e)?;
    let exponents = is_exponent_of(&p, &d, &*number(key.dp)?, &e)?
        && is_exponent_of(&q, &d, &*number(key.dq)?, &e)?;
    let modulus = NonZero::new(BoxedUint::clone(&p)).into_option()?;
    let inverse = q.rem(&modulus).mul_mod(&*number(key.q_inv)?, &modulus);
    Some(exponents && bool::from(inverse.is_one()))
}

/// Whether a prime is one by Fermat's test, `d` is `exponent` modulo it less one, and that is the
/// inverse of `e`.
fn is_exponent_of(
    prime: &BoxedUint,
    d: &BoxedUint,
    exponent: &BoxedUint,
    e: &BoxedUint,
) -> Option<bool> {
    let one = BoxedUint::one_with_precision(prime.bits_precision());
    let less = Zeroizing::new(prime.wrapping_sub(&one));
    let order = NonZero::new(BoxedUint::clone(&less)).into_option()?;
    let same = d.rem(&order) == *exponent;
    let inverse = e.mul_mod(exponent, &order).is_one();
    let params = BoxedMontyParams::new(prime.to_odd().into_option()?);
    let two = one.wrapping_add(&one);
    let power = BoxedMontyForm::new(two, &params).pow(&less).retrieve();
    Some(same && bool::from(inverse) && bool::from(power.is_one()))
}

fn number(bytes: &[u8], length: usize) -> Option<Zeroizing<BoxedUint>> {
    let bits = u32::try_from(length.checked_mul(8)?).ok()?;
    BoxedUint::from_be_slice(bytes, bits)
        .ok()
        .map(Zeroizing::new)
}
