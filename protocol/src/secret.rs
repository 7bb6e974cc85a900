//! Bytes that must not be seen: PINs, plaintexts, shared secrets.

use std::fmt;

use bytemuck::{Pod, Zeroable};
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes that are wiped on drop and kept out of swap where the kernel allows it.
///
/// They live in pages of their own which are `mlock`ed; where the limit on locked memory is
/// reached they are only wiped. There is no `Clone`, no `Serialize`, and `Debug` shows the
/// length alone. The length is not a secret.
pub struct SecretBytes {
    // Dropped before the pages: unlocking freed memory could unlock another secret.
    lock: Option<region::LockGuard>,
    pages: Box<[Page]>,
    length: usize,
}

/// One page of memory: secrets share no page with anything else, since `munlock` works on pages.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

const PAGE: usize = 4096;

impl SecretBytes {
    /// A secret of `length` zero bytes, to be filled in place through [`SecretBytes::expose_mut`].
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let pages = vec![Page::zeroed(); length.div_ceil(PAGE).max(1)].into_boxed_slice();
        let bytes: &[u8] = bytemuck::cast_slice(&pages);
        let lock = region::lock(bytes.as_ptr(), bytes.len()).ok();
        Self {
            lock,
            pages,
            length,
        }
    }

    /// A secret copied from `bytes`; wiping the source is the caller's duty.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        let mut secret = Self::zeroed(bytes.len());
        secret.expose_mut().copy_from_slice(bytes);
        secret
    }

    /// A secret taken out of `bytes`, which are wiped.
    #[must_use]
    pub fn take_from(bytes: &mut [u8]) -> Self {
        let secret = Self::copy_from(bytes);
        bytes.zeroize();
        secret
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        let bytes: &[u8] = bytemuck::cast_slice(&self.pages);
        bytes.get(..self.length).unwrap_or_default()
    }

    /// The bytes themselves, to be written.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.pages);
        bytes.get_mut(..self.length).unwrap_or_default()
    }

    /// Keeps the first `length` bytes and wipes the rest.
    pub fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.expose_mut().get_mut(length..) {
            rest.zeroize();
        }
        self.length = self.length.min(length);
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether the kernel promised to keep these bytes out of swap.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.pages);
        bytes.get_mut(..self.length).unwrap_or_default().zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.length)
    }
}

impl PartialEq for SecretBytes {
    /// Takes the same time wherever the bytes differ.
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for SecretBytes {}

impl<C> Encode<C> for SecretBytes {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(self.expose())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SecretBytes {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let bytes: &ByteSlice = d.decode_with(ctx)?;
        Ok(Self::copy_from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_length_alone() {
        let secret = SecretBytes::copy_from(b"1234");
        assert_eq!(format!("{secret:?}"), "SecretBytes(4 bytes)");
    }

    #[test]
    fn taking_wipes_the_source() {
        let mut source = *b"1234";
        let secret = SecretBytes::take_from(&mut source);
        assert_eq!(secret.expose(), b"1234");
        assert_eq!(source, [0; 4]);
    }

    #[test]
    fn what_is_cut_off_is_wiped() {
        let mut secret = SecretBytes::copy_from(b"123456");
        secret.truncate(2);
        assert_eq!(secret.expose(), b"12");
        secret.truncate(5);
        assert_eq!(secret.len(), 2);
        let page: &[u8] = bytemuck::cast_slice(&secret.pages);
        assert!(page.starts_with(b"12\0\0\0\0"));
    }

    #[test]
    fn secrets_share_no_page() {
        for length in [0, 1, PAGE, PAGE.saturating_add(1)] {
            let secret = SecretBytes::zeroed(length);
            assert_eq!(secret.len(), length);
            assert_eq!(secret.is_empty(), length == 0);
            assert!(secret.expose().as_ptr().addr().is_multiple_of(PAGE));
            assert_eq!(secret.pages.len(), length.div_ceil(PAGE).max(1));
        }
    }

    #[test]
    fn secrets_are_equal_if_their_bytes_are() {
        let secret = SecretBytes::copy_from(b"1234");
        assert_eq!(secret, SecretBytes::copy_from(b"1234"));
        assert_ne!(secret, SecretBytes::copy_from(b"1235"));
        assert_ne!(secret, SecretBytes::copy_from(b"12345"));
        assert_ne!(secret, SecretBytes::zeroed(0));
    }
}
