//! What a token says to a ciphertext, as the one error.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::session::Session as RawSession;
use keyward_backend::BackendError;
use keyward_protocol::SecretBytes;

use super::Token;
use super::error::{Attempt, code};

/// A secret out of what the module's wrapper gave, which is wiped.
pub(super) fn take(mut bytes: Vec<u8>) -> SecretBytes {
    SecretBytes::take_from(&mut bytes)
}

/// Turns what a token says to a ciphertext into the one error. Codes about session, login or
/// device stay, if the token says the same about itself without the ciphertext: SoftHSM answers
/// CKR_GENERAL_ERROR to padding and tags, others CKR_FUNCTION_FAILED or CKR_DEVICE_ERROR.
pub(super) fn finish<T>(
    token: &Token,
    session: &RawSession,
    opened: cryptoki::error::Result<T>,
) -> Attempt<T> {
    let error = match opened {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    if let Error::Pkcs11(_, Function::DecryptInit) = &error {
        return Err(error.into());
    }
    if code(&error) == Some(RvError::DeviceError) {
        // Whatever the reason, a handle can mean another key now.
        token.forget_handles();
    }
    session.get_session_info()?;
    match error {
        Error::Pkcs11(
            RvError::UserNotLoggedIn
            | RvError::KeyHandleInvalid
            | RvError::UnwrappingKeyHandleInvalid
            | RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::CryptokiNotInitialized
            | RvError::HostMemory,
            _,
        ) => Err(error.into()),
        // C_UnwrapKey has no separate beginning; these are about the key and not what it opens.
        Error::Pkcs11(
            RvError::KeyFunctionNotPermitted
            | RvError::MechanismInvalid
            | RvError::FunctionNotSupported
            | RvError::UnwrappingKeyTypeInconsistent
            | RvError::UnwrappingKeySizeRange,
            Function::UnwrapKey,
        ) => Err(error.into()),
        _ => Err(BackendError::UnwrapFailed.into()),
    }
}
