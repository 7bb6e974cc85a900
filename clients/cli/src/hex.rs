//! Hexadecimal on the command line.

/// The bytes of hexadecimal digits; what separates pairs in other programs' output is allowed.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("not pairs of hexadecimal digits".into());
    }
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(|| "not hexadecimal".into())
        })
        .collect()
}

/// The digits of bytes, at the end of a buffer that the caller sized.
pub(crate) fn encode_into(bytes: &[u8], digits: &mut Vec<u8>) {
    let digit = |half: u8| match half {
        0..=9 => b'0'.wrapping_add(half),
        _ => b'a'.wrapping_add(half.wrapping_sub(10)),
    };
    for byte in bytes {
        digits.extend([digit(byte >> 4), digit(byte & 0x0f)]);
    }
}

/// The digits of bytes.
pub(crate) fn digits(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(bytes.len().saturating_mul(2));
    encode_into(bytes, &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}
