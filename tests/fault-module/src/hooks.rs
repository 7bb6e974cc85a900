//! The calls that can fail on demand.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::{module, outputs};

/// Passes a call to the real module.
macro_rules! real {
    ($module:expr, $name:ident($($argument:expr),*)) => {
        match $module.real.$name {
            // SAFETY: the arguments are those of the caller, who follows the contract of this very call.
            Some(function) => unsafe { function($($argument),*) },
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
pub(crate) use real;

macro_rules! hooks {
    (
        plain { $($plain:ident($($p:ident: $pt:ty),*);)* }
        with_output { $($own:ident($($o:ident: $ot:ty),*);)* }
    ) => {
        /// The names of the calls that look for control files.
        pub const CALLS: &[&str] = &[$(stringify!($plain),)* $(stringify!($own)),*];

        /// Puts this module's functions in the place of the real ones.
        pub(crate) fn install(list: &mut CK_FUNCTION_LIST) {
            $(list.$plain = Some(enter::$plain);)*
            $(list.$own = Some(enter::$own);)*
        }

        #[allow(non_snake_case, reason = "the names of the specification")]
        mod enter {
            use super::*;

            $(pub(super) unsafe extern "C" fn $plain($($p: $pt),*) -> CK_RV {
                let Some(module) = module() else { return CKR_GENERAL_ERROR };
                match module.control.before(stringify!($plain)) {
                    Ok(()) => real!(module, $plain($($p),*)),
                    Err(rv) => rv,
                }
            })*

            $(pub(super) unsafe extern "C" fn $own($($o: $ot),*) -> CK_RV {
                let Some(module) = module() else { return CKR_GENERAL_ERROR };
                // SAFETY: the caller follows the contract of this very call.
                unsafe { outputs::$own(module, $($o),*) }.unwrap_or_else(|rv| rv)
            })*
        }
    };
}

hooks! {
    plain {
        C_Initialize(arguments: *mut c_void);
        C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG);
        C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG);
        C_SetPIN(session: CK_SESSION_HANDLE, old: *mut CK_UTF8CHAR, old_length: CK_ULONG, new: *mut CK_UTF8CHAR, new_length: CK_ULONG);
        C_Logout(session: CK_SESSION_HANDLE);
        C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
        C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE);
        C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
        C_SetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
        C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
        C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE);
        C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, by: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, length: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE);
        C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
        C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
        C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, length: CK_ULONG);
    }
    with_output {
        C_Finalize(reserved: *mut c_void);
        C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO);
        C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG);
        C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO);
        C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE);
        C_CloseSession(session: CK_SESSION_HANDLE);
        C_CloseAllSessions(slot: CK_SLOT_ID);
        C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
        C_Sign(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_length: CK_ULONG, signature: *mut CK_BYTE, length: *mut CK_ULONG);
        C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
        C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_length: CK_ULONG, ciphertext: *mut CK_BYTE, length: *mut CK_ULONG);
        C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_length: CK_ULONG, plaintext: *mut CK_BYTE, length: *mut CK_ULONG);
        C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, by: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, length: *mut CK_ULONG);
        C_DeriveKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE);
        C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public_template: *mut CK_ATTRIBUTE, public_count: CK_ULONG, private_template: *mut CK_ATTRIBUTE, private_count: CK_ULONG, public: *mut CK_OBJECT_HANDLE, private: *mut CK_OBJECT_HANDLE);
    }
}
