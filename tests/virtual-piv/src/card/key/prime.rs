//! Primes for RSA-1024: good enough for a card that guards nothing.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Limb, NonZero, Odd};
use zeroize::Zeroizing;

use super::super::Reply;
use super::super::random::fill;
use super::super::status::Status;

/// What most candidates are divided by.
const SMALL: [u32; 30] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127,
];

/// A number of so many bits, the two highest set, that is prime by Fermat's test to three bases: of
/// random numbers of this size next to none passes that is not.
pub(super) fn draw(bits: u32) -> Reply<Zeroizing<BoxedUint>> {
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(bits / 8).unwrap_or(0)]);
    loop {
        fill(&mut bytes)?;
        if let Some(first) = bytes.first_mut() {
            *first |= 0xc0;
        }
        if let Some(last) = bytes.last_mut() {
            *last |= 1;
        }
        let candidate = BoxedUint::from_be_slice(&bytes, bits).map_err(|_| Status::FAILED)?;
        let candidate = Zeroizing::new(candidate);
        if !has_small_factor(&candidate)
            && [2_u8, 3, 5].iter().all(|base| fermat(&candidate, *base))
        {
            return Ok(candidate);
        }
    }
}

fn has_small_factor(number: &BoxedUint) -> bool {
    SMALL.iter().any(|small| {
        NonZero::new(Limb::from(*small))
            .into_option()
            .is_some_and(|small| number.rem_limb(small) == Limb::ZERO)
    })
}

fn fermat(number: &BoxedUint, base: u8) -> bool {
    let Some(odd) = Odd::new(number.clone()).into_option() else {
        return false;
    };
    let params = BoxedMontyParams::new(odd);
    let precision = number.bits_precision();
    let Ok(base) = BoxedUint::from_be_slice(&[base], precision) else {
        return false;
    };
    let less = number.wrapping_sub(BoxedUint::one_with_precision(precision));
    let power = BoxedMontyForm::new(base, &params).pow(&less).retrieve();
    bool::from(power.is_one())
}
