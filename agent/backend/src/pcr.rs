//! Keys that a TPM lets be used only while its PCRs have values that were approved (TPM 2.0 Library
//! Part 1 §19.7): what agent and worker must both compute.

use keyward_protocol::CoseKey;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::token::VersionId;

/// The highest PCR that every TPM of a PC has (TCG PC Client Platform TPM Profile §4.6).
pub const HIGHEST: u8 = 23;

/// TPM_CC_PolicyPCR.
const POLICY_PCR: u32 = 0x0000_017f;
/// TPM_ALG_SHA256.
const SHA256: u16 = 0x000b;

/// A PCR of the SHA-256 bank with its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct PcrValue {
    /// Which one.
    #[n(0)]
    pub pcr: u8,
    /// What is in it.
    #[n(1)]
    pub value: ByteArray<32>,
}

/// Makes a key, or takes one in, that can be used only while PCRs have approved values.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct MakeBound {
    /// What it is, as for a key that is not bound.
    #[n(0)]
    pub generate: crate::message::Generate,
    /// What it is bound to.
    #[n(1)]
    pub binding: Binding,
    /// The key itself, where it was made elsewhere.
    #[n(2)]
    pub material: Option<keyward_protocol::operation::KeyMaterial>,
}

/// What a key is bound to when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Binding {
    /// The values that are approved, in the order of the PCRs.
    #[n(0)]
    pub values: Vec<PcrValue>,
    /// Who approved them and can approve others; without it these are the only ones for ever.
    #[n(1)]
    pub approval: Option<Approval>,
}

/// The word of a recovery key that a bound key may be used with certain values.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// The recovery key: P-256, or RSA.
    #[n(0)]
    pub authority: CoseKey,
    /// Its signature of [`approval_message`] in COSE's form: ESP256, or RS256.
    #[n(1)]
    pub signature: ByteVec,
}

/// Approves other values for a key that is there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Approve {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// The values, in the order of the PCRs.
    #[n(1)]
    pub values: Vec<PcrValue>,
    /// The recovery key's signature of [`approval_message`].
    #[n(2)]
    pub signature: ByteVec,
    /// Whether what was approved before goes.
    #[n(3)]
    pub drop_old: bool,
}

/// How a bound key is, and the machine.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BoundReport {
    /// What was approved, the newest last.
    #[n(0)]
    pub approved: Vec<Vec<PcrValue>>,
    /// The values of these PCRs now.
    #[n(1)]
    pub current: Vec<PcrValue>,
    /// Whose signature approves other values; `None` if nobody's.
    #[n(2)]
    pub authority: Option<CoseKey>,
}

/// What a key is bound to, as its placement says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BoundTo {
    /// The PCRs, in ascending order.
    #[n(0)]
    pub pcrs: Vec<u8>,
    /// Whose signature approves other values.
    #[n(1)]
    pub authority: Option<CoseKey>,
}

/// Whether these are PCRs that a key can be bound to: some, each once, in ascending order.
#[must_use]
pub fn is_selection(pcrs: &[u8]) -> bool {
    let ascending = pcrs.windows(2).all(|pair| pair.first() < pair.last());
    ascending && pcrs.last().is_some_and(|last| *last <= HIGHEST)
}

/// The PCRs of values.
#[must_use]
pub fn selected(values: &[PcrValue]) -> Vec<u8> {
    values.iter().map(|value| value.pcr).collect()
}

/// The digest of the values together (TPM 2.0 Library Part 1 §17.5).
#[must_use]
pub fn composite(values: &[PcrValue]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for value in values {
        hash.update(value.value.as_slice());
    }
    hash.finalize().into()
}

/// The policy digest of TPM2_PolicyPCR alone (TPM 2.0 Library Part 3 §23.7.1).
#[must_use]
pub fn policy(values: &[PcrValue]) -> [u8; 32] {
    let mut bitmap = [0u8; 3];
    for value in values {
        if let Some(byte) = bitmap.get_mut(usize::from(value.pcr >> 3)) {
            *byte |= 1 << (value.pcr & 7);
        }
    }
    Sha256::new()
        .chain_update([0; 32])
        .chain_update(POLICY_PCR.to_be_bytes())
        // TPML_PCR_SELECTION: one bank, three bytes.
        .chain_update(1u32.to_be_bytes())
        .chain_update(SHA256.to_be_bytes())
        .chain_update([3])
        .chain_update(bitmap)
        .chain_update(composite(values))
        .finalize()
        .into()
}

/// What the recovery key signs: the approved policy, and as its policyRef the id of the key, so that
/// an approval is of one key. Its SHA-256 is the aHash of TPM2_PolicyAuthorize (Part 3 §23.16.1).
#[must_use]
pub fn approval_message(id: VersionId, values: &[PcrValue]) -> Vec<u8> {
    [policy(values).as_slice(), id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_selection_has_each_pcr_once_and_in_order() {
        for good in [&[0][..], &[7], &[7, 11], &[0, 23]] {
            assert!(is_selection(good), "{good:?}");
        }
        for bad in [&[][..], &[24], &[7, 7], &[11, 7], &[0, 200]] {
            assert!(!is_selection(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_policy_is_that_of_tpm2_tools() {
        // tpm2_createpolicy --policy-pcr -l sha256:7,11 where both are zero.
        let zero = |pcr| PcrValue {
            pcr,
            value: [0; 32].into(),
        };
        let values = [zero(7), zero(11)];
        assert_eq!(hex(&policy(&values)), POLICY_OF_TPM2_TOOLS);
        let id = VersionId::random();
        let message = approval_message(id, &values);
        assert_eq!(message[..32], policy(&values));
        assert_eq!(message[32..], id.as_bytes()[..]);
    }

    const POLICY_OF_TPM2_TOOLS: &str =
        "384378caeddc9690b2ac9589827a756a5c46c8b33178b2fe468c80531b97a53e";
}
