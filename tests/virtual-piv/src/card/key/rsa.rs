//! RSA keys, and the bare private operation that PIV cards do.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul as _, NonZero, Odd};
use pkcs1::RsaPrivateKeyRef;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode as _;
use zeroize::Zeroizing;

use super::super::Reply;
use super::super::status::Status;
use super::{Algorithm, prime};

/// The only public exponent that there is.
pub(in super::super) const EXPONENT: [u8; 3] = [1, 0, 1];

/// A key in the form of the Chinese remainder theorem.
pub(in super::super) struct RsaKey {
    algorithm: Algorithm,
    modulus: Vec<u8>,
    p: Zeroizing<BoxedUint>,
    q: Zeroizing<BoxedUint>,
    dp: Zeroizing<BoxedUint>,
    dq: Zeroizing<BoxedUint>,
    q_inverse: Zeroizing<BoxedUint>,
}

impl RsaKey {
    pub(super) fn generate(algorithm: Algorithm) -> Reply<Self> {
        let size = match algorithm {
            Algorithm::Rsa2048 => KeySize::Rsa2048,
            Algorithm::Rsa3072 => KeySize::Rsa3072,
            Algorithm::Rsa4096 => KeySize::Rsa4096,
            Algorithm::Rsa1024 => return Self::generate_1024(),
            _ => return Err(Status::FAILED),
        };
        let pair = KeyPair::generate(size).map_err(|_| Status::FAILED)?;
        let der = pair.as_der().map_err(|_| Status::FAILED)?;
        let info = PrivateKeyInfoRef::from_der(der.as_ref()).map_err(|_| Status::FAILED)?;
        let key =
            RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| Status::FAILED)?;
        let parts = [
            key.prime1,
            key.prime2,
            key.exponent1,
            key.exponent2,
            key.coefficient,
        ];
        Self::import(algorithm, parts.map(|part| part.as_bytes()))
    }

    /// From its primes, the two exponents and the coefficient. They must belong together.
    pub(super) fn import(algorithm: Algorithm, parts: [&[u8]; 5]) -> Reply<Self> {
        let half = bits(algorithm)? / 2;
        let number = |bytes: &[u8]| {
            let number = BoxedUint::from_be_slice(bytes, half).map_err(|_| Status::WRONG_DATA)?;
            Ok(Zeroizing::new(number))
        };
        let [p, q, dp, dq, q_inverse] = parts;
        let (p, q) = (number(p)?, number(q)?);
        let key = Self {
            algorithm,
            modulus: Zeroizing::new(p.concatenating_mul(&*q))
                .to_be_bytes()
                .to_vec(),
            dp: number(dp)?,
            dq: number(dq)?,
            q_inverse: number(q_inverse)?,
            p,
            q,
        };
        if key.modulus.first().is_none_or(|first| *first < 0x80) || !key.works()? {
            return Err(Status::WRONG_DATA);
        }
        Ok(key)
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(in super::super) fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// `input` to the power of d modulo n; the input is as long as the modulus and below it.
    pub(in super::super) fn raw(&self, input: &[u8]) -> Reply {
        if input.len() != self.modulus.len() || input >= self.modulus.as_slice() {
            return Err(Status::WRONG_DATA);
        }
        let input = BoxedUint::from_be_slice(input, bits(self.algorithm)?)
            .map_err(|_| Status::WRONG_DATA)?;
        let of_p = Zeroizing::new(power(&input, &self.dp, &self.p)?);
        let of_q = Zeroizing::new(power(&input, &self.dq, &self.q)?);
        let p = nonzero(&self.p)?;
        let difference = Zeroizing::new(of_p.sub_mod(&of_q.rem(&p), &p));
        let h = Zeroizing::new(difference.mul_mod(&self.q_inverse, &p));
        let product = Zeroizing::new(h.concatenating_mul(&*self.q));
        let sum = Zeroizing::new(product.wrapping_add(&*of_q));
        Ok(sum.to_be_bytes().to_vec())
    }

    /// 1,024 bits are fewer than AWS-LC makes.
    fn generate_1024() -> Reply<Self> {
        loop {
            let (p, q) = (prime::draw(512)?, prime::draw(512)?);
            let numbers = (|| {
                let one = BoxedUint::one_with_precision(512);
                let exponent = BoxedUint::from_be_slice(&EXPONENT, 512).ok()?;
                let order =
                    |prime: &BoxedUint| NonZero::new(prime.wrapping_sub(&one)).into_option();
                let of = |prime| exponent.invert_mod(&order(prime)?).into_option();
                let modulus = NonZero::new(BoxedUint::clone(&p)).into_option()?;
                let inverse = q.rem(&modulus).invert_mod(&modulus).into_option()?;
                Some([of(&p)?, of(&q)?, inverse].map(Zeroizing::new))
            })();
            // One in 65,537 primes does not go with the exponent.
            let Some([dp, dq, inverse]) = numbers else {
                continue;
            };
            let parts = [&p, &q, &dp, &dq, &inverse].map(|number| number.to_be_bytes());
            let parts = parts.each_ref().map(|bytes| &**bytes);
            return Self::import(Algorithm::Rsa1024, parts);
        }
    }

    /// Whether the public operation undoes the private one.
    fn works(&self) -> Reply<bool> {
        let mut sample = vec![0x5a; self.modulus.len()];
        if let Some(first) = sample.first_mut() {
            *first = 0;
        }
        let Ok(signed) = self.raw(&sample) else {
            return Ok(false);
        };
        let bits = bits(self.algorithm)?;
        let number =
            |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).map_err(|_| Status::WRONG_DATA);
        if signed >= self.modulus {
            return Ok(false);
        }
        let opened = power(
            &number(&signed)?,
            &number(&EXPONENT)?,
            &number(&self.modulus)?,
        )?;
        Ok(*opened.to_be_bytes() == *sample)
    }
}

fn power(base: &BoxedUint, exponent: &BoxedUint, modulus: &BoxedUint) -> Reply<BoxedUint> {
    let odd = Odd::new(modulus.clone())
        .into_option()
        .ok_or(Status::WRONG_DATA)?;
    let params = BoxedMontyParams::new(odd);
    let base = base.rem(&nonzero(modulus)?);
    Ok(BoxedMontyForm::new(base, &params).pow(exponent).retrieve())
}

fn nonzero(number: &BoxedUint) -> Reply<NonZero<BoxedUint>> {
    NonZero::new(number.clone())
        .into_option()
        .ok_or(Status::WRONG_DATA)
}

fn bits(algorithm: Algorithm) -> Reply<u32> {
    match algorithm {
        Algorithm::Rsa1024 => Ok(1024),
        Algorithm::Rsa2048 => Ok(2048),
        Algorithm::Rsa3072 => Ok(3072),
        Algorithm::Rsa4096 => Ok(4096),
        _ => Err(Status::WRONG_DATA),
    }
}
