//! Random bytes.

use zeroize::Zeroizing;

use super::Reply;
use super::status::Status;

pub(super) fn random<const N: usize>() -> Reply<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    fill(&mut *bytes)?;
    Ok(bytes)
}

pub(super) fn fill(bytes: &mut [u8]) -> Reply<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Status::FAILED)
}
