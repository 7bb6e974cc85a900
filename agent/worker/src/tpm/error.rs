//! What a response code means for what is done next.
//!
//! Codes are classified by their number, with the layer taken off: `tss-esapi` has no word for those
//! of the layers above the TPM. The numbers are those of TPM 2.0 Library Part 2 §6.6 and of the TSS
//! 2.0 Overview §3.6.

use keyward_backend::BackendError;
use tss_esapi::Error;
use tss_esapi::constants::response_code::Tss2ResponseCode;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is no slot for another object: put one away, then again.
    Evict,
    /// What was loaded is gone, with a reset or another's flush: load it again, then again.
    LoadAgain,
    /// The session is gone: start another, then again.
    SessionAgain,
    /// The TPM wants TPM2_Startup first.
    Startup,
    /// The connection is dead: make another.
    Connect,
    /// The TPM is busy with itself: again.
    Again,
    /// The authorization value is wrong.
    WrongAuth,
    /// The dictionary attack lockout is in force.
    Lockout,
    /// The TPM says no to these parameters.
    Refused,
    /// The TPM has failed and says so.
    Failed,
}

/// The layers of a TSS response code, as they come (TSS 2.0 Overview §3.6).
const LAYER: u32 = 0x00ff_0000;
const TPM: u32 = 0;
const RESOURCE_MANAGER_TPM: u32 = 11 << 16;
const RESOURCE_MANAGER: u32 = 12 << 16;
const ESAPI: u32 = 7 << 16;
const TCTI: u32 = 10 << 16;

/// The code as a number; `None` for what the library found itself.
pub(super) fn number(error: Error) -> Option<u32> {
    // The library keeps the number to itself, but shows it.
    let shown = match error {
        Error::Tss2Error(Tss2ResponseCode::FormatZero(code)) => code.to_string(),
        Error::Tss2Error(Tss2ResponseCode::FormatOne(code)) => code.to_string(),
        _ => return None,
    };
    let (_, digits) = shown.rsplit_once("0x")?;
    u32::from_str_radix(digits, 16).ok()
}

/// What a dead connection gives: the TPM behind it is not the one that was there.
pub(super) fn gone() -> Error {
    Error::Tss2Error(Tss2ResponseCode::from(TCTI | 0x0a))
}

/// What to do about an error.
pub(super) fn next(error: Error) -> Next {
    let Some(number) = number(error) else {
        return Next::Refused;
    };
    match number & LAYER {
        TPM | RESOURCE_MANAGER_TPM | RESOURCE_MANAGER => of_tpm(number & 0xffff),
        TCTI => Next::Connect,
        // An object of another connection, or one that the library has forgotten.
        ESAPI if number & 0xffff == 0x18 => Next::LoadAgain,
        // It waits for an answer that will not come.
        ESAPI if number & 0xffff == 0x07 => Next::Connect,
        _ => Next::Refused,
    }
}

/// The code without the number of the handle, session or parameter that it is about.
pub(super) fn base(number: u32) -> u32 {
    match number & 0x80 {
        0 => number & 0xfff,
        _ => number & 0xbf,
    }
}

/// TPM_RC_VALUE of the TPM itself.
pub(super) fn is_value(error: Error) -> bool {
    is_one_of(error, &[0x084])
}

/// TPM_RC_SIGNATURE, _POLICY_FAIL, _TICKET: an approval is not the recovery key's, or not for this
/// key.
pub(super) fn is_forged(error: Error) -> bool {
    is_one_of(error, &[0x09b, 0x09d, 0x0a0])
}

fn is_one_of(error: Error, codes: &[u32]) -> bool {
    number(error).is_some_and(|number| {
        matches!(
            number & LAYER,
            TPM | RESOURCE_MANAGER_TPM | RESOURCE_MANAGER
        ) && codes.contains(&base(number & 0xffff))
    })
}

fn of_tpm(number: u32) -> Next {
    match base(number) {
        0x902 | 0x906 | 0x904 => Next::Evict,
        // TPM_RC_REFERENCE_H0 to H6: a transient object that is not there.
        0x910..=0x916 | 0x150 => Next::LoadAgain,
        // TPM_RC_HANDLE, about a session: somebody has put it away.
        0x08b if number & 0x840 == 0x800 => Next::SessionAgain,
        // About an object: it is of before a reset.
        0x08b => Next::LoadAgain,
        // TPM_RC_REFERENCE_S0 to S6, TPM_RC_SESSION_MEMORY, _SESSION_HANDLES, _CONTEXT_GAP.
        0x918..=0x91e | 0x903 | 0x905 | 0x901 => Next::SessionAgain,
        0x100 => Next::Startup,
        // TPM_RC_PCR_CHANGED too: the policy is looked at again.
        0x128 | 0x922 | 0x90a | 0x908 | 0x909 | 0x920 | 0x923 => Next::Again,
        0x08e | 0x0a2 => Next::WrongAuth,
        0x921 => Next::Lockout,
        0x101 => Next::Failed,
        _ => Next::Refused,
    }
}

/// What the agent hears.
pub(super) fn answer(error: Error) -> BackendError {
    let what = describe(error);
    match next(error) {
        Next::Evict | Next::SessionAgain | Next::Again => BackendError::Busy(what),
        Next::LoadAgain | Next::Startup | Next::Refused => BackendError::Refused(what),
        Next::Connect => BackendError::TokenAbsent(format!("the TPM does not answer: {what}")),
        Next::Failed => BackendError::DeviceFailed(format!(
            "the TPM is in failure mode, which a restart of the machine may end: {what}"
        )),
        Next::WrongAuth => BackendError::Refused(format!(
            "the TPM does not take the key's authorization value; was its file replaced? ({what})"
        )),
        Next::Lockout => BackendError::PinBlocked,
    }
}

/// The code for people.
pub(super) fn describe(error: Error) -> String {
    match number(error) {
        Some(number) => format!("{error} ({number:#x})"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: u32) -> Next {
        next(Error::Tss2Error(Tss2ResponseCode::from(number)))
    }

    #[test]
    fn a_code_keeps_its_number() {
        for number in [0x902, 0x98e, 0x1df, 0xa_000a, 0x7_0018, 0xb_0902] {
            let error = Error::Tss2Error(Tss2ResponseCode::from(number));
            assert_eq!(super::number(error), Some(number));
        }
    }

    #[test]
    fn codes_say_what_to_do() {
        for (number, wanted) in [
            (0x902, Next::Evict),
            (0xb_0902, Next::Evict),
            (0x910, Next::LoadAgain),
            (0x18b, Next::LoadAgain),
            // A saved context of before a reset, which is forgotten, or a file that is damaged.
            (0x1df, Next::Refused),
            (0x7_0018, Next::LoadAgain),
            (0x903, Next::SessionAgain),
            (0x98b, Next::SessionAgain),
            (0x1cb, Next::LoadAgain),
            (0x918, Next::SessionAgain),
            (0x100, Next::Startup),
            (0xa_000a, Next::Connect),
            (0x7_0007, Next::Connect),
            (0x922, Next::Again),
            (0x128, Next::Again),
            (0x98e, Next::WrongAuth),
            (0x9a2, Next::WrongAuth),
            (0x921, Next::Lockout),
            (0x101, Next::Failed),
            (0x1d5, Next::Refused),
            (0x2c4, Next::Refused),
            (0x8_000b, Next::Refused),
        ] {
            assert_eq!(of(number), wanted, "{number:#x}");
        }
    }
}
