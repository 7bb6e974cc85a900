//! The values of PCRs (TPM2_PCR_Read), in the SHA-256 bank.

use keyward_backend::pcr::PcrValue;
use keyward_backend::{BackendError, Result};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{PcrSelectionList, PcrSlot};

use super::Failure;
use super::device::Device;
use super::error::answer;

/// TPM2_PCR_Read answers as many at once.
const AT_ONCE: usize = 8;
/// How often values are read again that changed meanwhile.
const MOST_TRIES: usize = 8;

/// The values of PCRs at one moment.
pub(super) fn values(
    device: &mut Device,
    pcrs: &[u8],
) -> std::result::Result<Vec<PcrValue>, Failure> {
    for _ in 0..MOST_TRIES {
        let mut counters = Vec::new();
        let mut read = Vec::new();
        for some in pcrs.chunks(AT_ONCE) {
            let wanted = selection(some)?;
            let (counter, there, digests) =
                device.run(|device| device.plain(|context| context.pcr_read(wanted.clone())))?;
            counters.push(counter);
            let there = there.get_selections().iter();
            let there: usize = there.map(|bank| bank.selected().len()).sum();
            if there != some.len() || digests.len() != some.len() {
                return Err(no_bank().into());
            }
            for (pcr, digest) in some.iter().zip(digests.value()) {
                let value: [u8; 32] = digest.value().try_into().map_err(|_| no_bank())?;
                read.push(PcrValue {
                    pcr: *pcr,
                    value: value.into(),
                });
            }
        }
        if counters.windows(2).all(|pair| pair.first() == pair.last()) {
            return Ok(read);
        }
    }
    Err(BackendError::Busy("the PCRs change all the time".to_owned()).into())
}

/// The selection of PCRs as the TPM takes it.
pub(super) fn selection(pcrs: &[u8]) -> Result<PcrSelectionList> {
    let slots = pcrs.iter().map(|pcr| {
        let bit = 1u32.checked_shl(u32::from(*pcr)).unwrap_or(0);
        PcrSlot::try_from(bit).map_err(answer)
    });
    PcrSelectionList::builder()
        .with_selection(
            HashingAlgorithm::Sha256,
            &slots.collect::<Result<Vec<_>>>()?,
        )
        .build()
        .map_err(answer)
}

fn no_bank() -> BackendError {
    BackendError::MechanismInvalid(
        "the TPM does not have these PCRs in a bank of SHA-256".to_owned(),
    )
}
