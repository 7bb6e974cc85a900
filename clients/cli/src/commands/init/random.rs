//! Secrets that nobody chose.

use keyward_protocol::SecretBytes;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::exit::Exit;

/// How many digits a PIN or PUK of a card has that is made up.
const DIGITS: usize = 8;

/// 128 bits in hexadecimal.
pub(super) fn hexadecimal() -> Result<SecretBytes, Error> {
    let bytes = bytes::<16>()?;
    let mut digits = Zeroizing::new(Vec::with_capacity(32));
    crate::hex::encode_into(bytes.as_ref(), &mut digits);
    Ok(SecretBytes::copy_from(&digits))
}

/// Eight decimal digits, each as likely as any other.
pub(super) fn digits() -> Result<SecretBytes, Error> {
    let mut digits = Zeroizing::new(Vec::with_capacity(DIGITS));
    while digits.len() < DIGITS {
        let bytes = bytes::<DIGITS>()?;
        // The bytes above would make some digits likelier.
        let even = bytes.iter().filter(|byte| **byte < 250);
        let missing = DIGITS.saturating_sub(digits.len());
        let more = even.map(|byte| (byte % 10).saturating_add(b'0'));
        digits.extend(more.take(missing));
    }
    Ok(SecretBytes::copy_from(&digits))
}

fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let failed = |e| Error::new(Exit::Fault, "the system has no random bytes").cause(e);
    let mut bytes = Zeroizing::new([0; N]);
    let mut rest: &mut [u8] = bytes.as_mut();
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())
            .map_err(failed)?;
        rest = rest.get_mut(got..).unwrap_or_default();
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_differs_and_has_its_form() {
        let (one, other) = (digits().unwrap(), digits().unwrap());
        assert_eq!(one.len(), 8);
        assert!(one.expose().iter().all(u8::is_ascii_digit));
        assert_ne!(one, other);
        assert_eq!(hexadecimal().unwrap().len(), 32);
    }
}
