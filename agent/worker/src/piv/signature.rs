//! ECDSA signatures as cards give them.

use der::asn1::UintRef;
use der::{Decode, Reader, SliceReader};

/// r and s of an Ecdsa-Sig-Value (RFC 3279 §2.2.3), without leading zeros.
///
/// # Errors
/// It is none in DER.
pub fn ecdsa(der: &[u8]) -> Result<(&[u8], &[u8]), der::Error> {
    let mut reader = SliceReader::new(der)?;
    let (r, s) = reader.sequence(|reader| {
        let r = UintRef::decode(reader)?;
        let s = UintRef::decode(reader)?;
        Ok::<_, der::Error>((r.as_bytes(), s.as_bytes()))
    })?;
    reader.finish()?;
    Ok((r, s))
}
