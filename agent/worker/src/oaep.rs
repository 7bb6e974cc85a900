//! EME-OAEP decoding (RFC 8017 §7.1.2 step 3), for tokens that only do the raw RSA operation.
//!
//! Whoever can tell why a decoding failed, by a message or by time, can open ciphertexts (Manger,
//! CRYPTO 2001). So nothing here branches on, indexes by or returns early for what is inside the
//! encoded message: its first byte, the label's hash, the place of the separator, the padding. What
//! may be seen: the lengths of modulus and label, whether it opened, and then how long it is.

use keyward_protocol::SecretBytes;
use sha2::Digest;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

/// It did not open. There is no more to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open")]
pub struct DecodeFailed;

/// Decodes an encoded message, as long as the modulus, with `D` for both hashes.
///
/// # Errors
/// [`DecodeFailed`], whatever the reason.
pub fn decode<D: Digest>(encoded: &[u8], label: &[u8]) -> Result<SecretBytes, DecodeFailed> {
    let hash_length = <D as Digest>::output_size();
    let mut work = SecretBytes::copy_from(encoded);
    let (first, rest) = work.expose_mut().split_first_mut().ok_or(DecodeFailed)?;
    let (seed, block) = rest.split_at_mut_checked(hash_length).ok_or(DecodeFailed)?;
    if block.len() <= hash_length {
        return Err(DecodeFailed);
    }
    mask::<D>(block, seed);
    mask::<D>(seed, block);
    let (label_hash, message) = block
        .split_at_mut_checked(hash_length)
        .ok_or(DecodeFailed)?;

    let mut valid = first.ct_eq(&0);
    valid &= label_hash.ct_eq(D::digest(label).as_slice());
    let (found, start) = separator(message);
    valid &= found;
    shift_left(message, start);

    let most = u32::try_from(message.len()).map_err(|_| DecodeFailed)?;
    let mut opened = SecretBytes::copy_from(message);
    let length = u32::conditional_select(&0, &most.saturating_sub(start), valid);
    // From here on the outcome is known to whoever waits for it.
    if bool::from(valid) {
        opened.truncate(usize::try_from(length).map_err(|_| DecodeFailed)?);
        Ok(opened)
    } else {
        Err(DecodeFailed)
    }
}

/// A ciphertext that the RSA operation takes. One of another length or not below the modulus is
/// replaced by one that does not open, so that it takes the same way and the same time.
#[must_use]
pub fn in_range(ciphertext: &[u8], modulus: &[u8]) -> Vec<u8> {
    if ciphertext.len() == modulus.len() && ciphertext < modulus {
        return ciphertext.to_vec();
    }
    let mut one = vec![0; modulus.len()];
    if let Some(last) = one.last_mut() {
        *last = 1;
    }
    one
}

/// What the raw RSA operation gave, as long as the modulus: some tokens leave leading zeros out.
#[must_use]
pub fn full_width(raw: &[u8], width: usize) -> SecretBytes {
    let mut encoded = SecretBytes::zeroed(width);
    let zeros = width.saturating_sub(raw.len());
    let place = encoded.expose_mut().get_mut(zeros..).unwrap_or_default();
    if place.len() == raw.len() {
        place.copy_from_slice(raw);
    }
    encoded
}

/// Xors MGF1 of `seed` (RFC 8017 §B.2.1) over `target`.
fn mask<D: Digest>(seed: &[u8], target: &mut [u8]) {
    for (counter, chunk) in (0u32..).zip(target.chunks_mut(<D as Digest>::output_size())) {
        let mut block = D::new()
            .chain_update(seed)
            .chain_update(counter.to_be_bytes())
            .finalize();
        for (byte, mask) in chunk.iter_mut().zip(block.iter()) {
            *byte ^= mask;
        }
        block.as_mut_slice().zeroize();
    }
}

/// Whether there are only zeros before the first 1, and where what follows that begins.
fn separator(padded: &[u8]) -> (Choice, u32) {
    let mut searching = Choice::from(1);
    let mut clean = Choice::from(1);
    let mut start = 0u32;
    for (next, byte) in (1u32..).zip(padded) {
        let one = byte.ct_eq(&1);
        let zero = byte.ct_eq(&0);
        start.conditional_assign(&next, searching & one);
        clean &= !searching | one | zero;
        searching &= !one;
    }
    (clean & !searching, start)
}

/// Moves everything `by` places to the front, `by` being secret: in steps that are each made or not.
fn shift_left(bytes: &mut [u8], by: u32) {
    let mut step = 1usize;
    let mut bit = 0u32;
    while step < bytes.len() {
        let made = Choice::from(u8::from((by >> bit) & 1 == 1));
        for at in 0..bytes.len() {
            let from = bytes.get(at.saturating_add(step)).copied().unwrap_or(0);
            if let Some(byte) = bytes.get_mut(at) {
                byte.conditional_assign(&from, made);
            }
        }
        step = step.saturating_mul(2);
        bit = bit.saturating_add(1);
    }
}
