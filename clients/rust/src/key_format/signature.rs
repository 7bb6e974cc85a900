//! ECDSA signatures: COSE's r ‖ s (RFC 9053 §2.1) and DER's ECDSA-Sig-Value (RFC 3279 §2.2.3).

use der::asn1::{AnyRef, UintRef};
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

use super::{KeyFormatError, broken};

/// The DER form of a signature r ‖ s, which openssl and X.509 want.
///
/// # Errors
/// `raw` is empty or of odd length.
pub fn ecdsa_to_der(raw: &[u8]) -> Result<Vec<u8>, KeyFormatError> {
    let wrong = |e: der::Error| broken("DER", e);
    if raw.is_empty() || !raw.len().is_multiple_of(2) {
        return Err(broken("signature", "it is not two halves"));
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    let number = |half| UintRef::new(half)?.to_der();
    let numbers = [number(r).map_err(wrong)?, number(s).map_err(wrong)?].concat();
    AnyRef::new(Tag::Sequence, &numbers)
        .and_then(|sequence| sequence.to_der())
        .map_err(wrong)
}

/// The form r ‖ s of a signature in DER, each half `width` bytes.
///
/// # Errors
/// It is no such DER, or a number is wider than `width`.
pub fn ecdsa_from_der(der: &[u8], width: usize) -> Result<Vec<u8>, KeyFormatError> {
    let numbers = numbers(der).map_err(|e| broken("DER", e))?;
    let mut raw = Vec::with_capacity(width.saturating_mul(2));
    for number in numbers {
        let number = number.as_bytes();
        let zeros = width
            .checked_sub(number.len())
            .ok_or_else(|| broken("signature", "it is of a larger curve"))?;
        raw.resize(raw.len().saturating_add(zeros), 0);
        raw.extend_from_slice(number);
    }
    Ok(raw)
}

fn numbers(der: &[u8]) -> Result<[UintRef<'_>; 2], der::Error> {
    let sequence = AnyRef::from_der(der)?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(sequence.value())?;
    let numbers = [UintRef::decode(&mut reader)?, UintRef::decode(&mut reader)?];
    reader.finish()?;
    Ok(numbers)
}
