//! What the return codes of a module mean to the agent.

use cryptoki::error::{Error, RvError};
use keyward_backend::BackendError;

/// Why something inside this backend did not work: a module's code, until it is known what the
/// code means in that place, or an answer.
#[derive(Debug)]
pub(super) enum Failure {
    Module(Error),
    Answer(BackendError),
}

/// The result of a try inside this backend.
pub(super) type Attempt<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Module(error)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Answer(error)
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Module(error) => answer(&error),
            Failure::Answer(error) => error,
        }
    }
}

impl Failure {
    /// The module's code, if it is one.
    pub(super) fn code(&self) -> Option<RvError> {
        match self {
            Self::Module(error) => code(error),
            Self::Answer(_) => None,
        }
    }
}

/// The return code in an error, if it holds one.
pub(super) fn code(error: &Error) -> Option<RvError> {
    match error {
        Error::Pkcs11(code, _) => Some(*code),
        _ => None,
    }
}

/// The answer for a module's error, where the place gives it no other meaning.
pub(super) fn answer(error: &Error) -> BackendError {
    use BackendError as B;
    use RvError as R;
    let text = || describe(error);
    let and = |what: &str| format!("{}: {what}", describe(error));
    let Some(code) = code(error) else {
        return match error {
            Error::NullFunctionPointer | Error::NotSupported => B::MechanismInvalid(text()),
            _ => B::DeviceFailed(text()),
        };
    };
    match code {
        R::UserNotLoggedIn => B::LoginRequired,
        R::PinIncorrect | R::PinInvalid | R::PinLenRange => B::PinIncorrect,
        R::PinLocked => B::PinBlocked,
        R::PinExpired => B::Refused(and("change the PIN with the token's own program")),
        R::UserPinNotInitialized => {
            B::Refused(and("set a user PIN with the token's own program first"))
        }
        R::UserAnotherAlreadyLoggedIn | R::UserTooManyTypes | R::SessionReadWriteSoExists => {
            B::Refused(and("somebody else is logged in to the token"))
        }
        R::TokenNotPresent | R::TokenNotRecognized | R::DeviceRemoved | R::SlotIdInvalid => {
            B::TokenAbsent(text())
        }
        R::SessionCount => B::Busy(text()),
        R::DeviceMemory => B::TokenFull,
        R::KeyHandleInvalid
        | R::ObjectHandleInvalid
        | R::UnwrappingKeyHandleInvalid
        | R::WrappingKeyHandleInvalid => B::KeyNotFound,
        R::GeneralError
        | R::DeviceError
        | R::HostMemory
        | R::CryptokiNotInitialized
        | R::CryptokiAlreadyInitialized
        | R::FipsSelfTestFailed
        | R::LibraryLoadFailed
        | R::MutexBad
        | R::MutexNotLocked
        | R::CantLock
        | R::NeedToCreateThreads
        | R::SessionHandleInvalid
        | R::SessionClosed
        | R::OperationActive => B::DeviceFailed(text()),
        R::MechanismInvalid
        | R::MechanismParamInvalid
        | R::FunctionNotSupported
        | R::CurveNotSupported
        | R::DomainParamsInvalid
        | R::KeySizeRange
        | R::KeyTypeInconsistent
        | R::KeyFunctionNotPermitted
        | R::UnwrappingKeySizeRange
        | R::UnwrappingKeyTypeInconsistent
        | R::WrappingKeySizeRange
        | R::WrappingKeyTypeInconsistent
        | R::AttributeTypeInvalid
        | R::AttributeValueInvalid
        | R::AttributeReadOnly
        | R::TemplateIncomplete
        | R::TemplateInconsistent
        | R::RandomNoRng => B::MechanismInvalid(text()),
        R::TokenWriteProtected | R::SessionReadOnly => {
            B::Refused(and("the token is write-protected"))
        }
        R::FunctionCanceled | R::Cancel | R::FunctionRejected => {
            B::Refused(and("it was cancelled at the token"))
        }
        _ => B::Refused(text()),
    }
}

/// The codes after which a session and all handles are to be had anew, and nothing was done.
pub(super) fn is_stale(code: RvError) -> bool {
    is_dead(code)
        || matches!(
            code,
            RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::UnwrappingKeyHandleInvalid
                | RvError::WrappingKeyHandleInvalid
                | RvError::OperationActive
        )
}

/// The codes that tell that a session is no more.
fn is_dead(code: RvError) -> bool {
    matches!(code, RvError::SessionHandleInvalid | RvError::SessionClosed)
}

/// Whether the session that a failure came through is still there.
pub(super) fn is_alive(failure: &Failure) -> bool {
    !failure
        .code()
        .is_some_and(|code| is_dead(code) || is_gone(code))
}

/// The codes that tell that the token, and with it every session, has been away.
pub(super) fn is_gone(code: RvError) -> bool {
    matches!(
        code,
        RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::CryptokiNotInitialized
    )
}

/// The codes after which a handle can mean another object.
pub(super) fn is_doubtful(code: RvError) -> bool {
    is_gone(code)
        || is_stale(code)
        || matches!(
            code,
            RvError::DeviceError | RvError::GeneralError | RvError::FunctionFailed
        )
}

/// An error for people: the code by its name in the specification, and who returned it.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code), function) => {
            format!("vendor-defined code {code:#x} from C_{function:?}")
        }
        Error::Pkcs11(RvError::UnknownErrorCode(code), function) => {
            format!("unknown code {code:#x} from C_{function:?}")
        }
        Error::Pkcs11(code, function) => format!("{} from C_{function:?}", name(*code)),
        other => other.to_string(),
    }
}

/// The name of a code: `PinIncorrect` is CKR_PIN_INCORRECT.
fn name(code: RvError) -> String {
    let mut name = "CKR".to_owned();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn of(code: RvError) -> BackendError {
        answer(&Error::Pkcs11(code, Function::Sign))
    }

    #[test]
    fn a_code_has_its_name_of_the_specification() {
        let error = Error::Pkcs11(RvError::UserPinNotInitialized, Function::Login);
        assert_eq!(
            describe(&error),
            "CKR_USER_PIN_NOT_INITIALIZED from C_Login"
        );
    }

    #[test]
    fn a_vendors_code_is_shown_as_a_number() {
        let error = Error::Pkcs11(RvError::VendorDefined(0x8000_0042), Function::Sign);
        assert_eq!(
            describe(&error),
            "vendor-defined code 0x80000042 from C_Sign"
        );
        assert!(matches!(
            of(RvError::VendorDefined(1)),
            BackendError::Refused(_)
        ));
    }

    #[test]
    fn codes_become_what_the_agent_does_next() {
        assert_eq!(of(RvError::UserNotLoggedIn), BackendError::LoginRequired);
        assert_eq!(of(RvError::PinLenRange), BackendError::PinIncorrect);
        assert_eq!(of(RvError::PinLocked), BackendError::PinBlocked);
        assert!(matches!(of(RvError::SessionCount), BackendError::Busy(_)));
        assert!(matches!(
            of(RvError::DeviceRemoved),
            BackendError::TokenAbsent(_)
        ));
        assert!(matches!(
            of(RvError::CryptokiNotInitialized),
            BackendError::DeviceFailed(_)
        ));
        assert!(matches!(
            of(RvError::MechanismInvalid),
            BackendError::MechanismInvalid(_)
        ));
    }
}
