//! A PKCS#11 module for tests: it passes each call to a real module and fails on demand.
//!
//! Two environment variables, read when `C_GetFunctionList` is first called:
//! - `KEYWARD_FAULT_MODULE`: the path of the real module.
//! - `KEYWARD_FAULT_DIR`: the folder of control files, which this process may read, write, create and delete.
//!
//! Each call in [`CALLS`] looks for its control files, in this order; the others go straight to the real module.
//! Queries for the size of an output (`C_Sign` with no buffer, …) are neither counted nor touched.
//!
//! | file | effect |
//! | --- | --- |
//! | `NAME.calls` | gets one byte appended at each call: a counter that survives a crash |
//! | `NAME.probe` | once: tries what a sealed process must not do (src/probe.rs), results in `NAME.probe.txt` |
//! | `NAME.hang` | blocks until the file is gone |
//! | `NAME.crash` | aborts the process, once; `NAME.crash.always`: each time |
//! | `NAME.error` | holds a `CK_RV`, which is returned; `NAME.error.once`: once; `NAME.error.second`: once, by the second call from then on |
//! | `NAME.garble` | the real call, then one bit of its output flipped |
//! | `C_Sign.short`, `C_Encrypt.short`, `C_Decrypt.short` | the output loses its last byte |
//! | `C_EncryptInit.iv` | a token that makes its own IV for AES-GCM: it has these bytes, in hexadecimal |
//! | `C_WrapKey.pkcs7` | a token of PKCS#11 2.40, by the length alone: CKM_AES_KEY_WRAP_PAD makes 8 bytes more of whole blocks |
//! | `C_OpenSession.limit` | holds a number: `CKR_SESSION_COUNT` beyond that many open sessions |
//! | `C_GetTokenInfo.serial` | another serial number: a swapped token |
//! | `C_GetTokenInfo.flags` | a number OR-ed into the token's flags |
//! | `C_GetMechanismList.hide` | mechanism numbers, one a line, that the token no longer has |
//! | `C_GetAttributeValue.hide` | attribute numbers, one a line, that it calls `CKR_ATTRIBUTE_TYPE_INVALID` |
//! | `C_GetAttributeValue.replace` | lines `NUMBER=HEX`: attributes whose value is another of the same length |
//!
//! Numbers are decimal or 0x-hexadecimal. The system calls that this needs besides the real module's: openat, read,
//! write, close, unlink, futex.

#![allow(unsafe_code, reason = "a PKCS#11 module is C")]

mod control;
mod hooks;
mod outputs;
mod probe;

pub use hooks::CALLS;

use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::{Mutex, OnceLock},
};

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID,
    CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_OK,
};

use control::Control;

/// The one entry of a PKCS#11 2.40 module.
///
/// # Safety
/// `list` is null or points to a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut CK_FUNCTION_LIST_PTR) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let Some(module) = module() else {
        return CKR_GENERAL_ERROR;
    };
    // SAFETY: not null, and the caller's to write. The list lives as long as the process, and callers only read it.
    unsafe { *list = (&raw const module.list).cast_mut() };
    CKR_OK
}

/// The real module, what callers see instead of it, and what is known about its state.
struct Module {
    real: CK_FUNCTION_LIST,
    list: CK_FUNCTION_LIST,
    control: Control,
    sessions: Mutex<HashMap<CK_SESSION_HANDLE, CK_SLOT_ID>>,
}

/// The module, loaded at the first call; none if that failed, which stderr then says.
fn module() -> Option<&'static Module> {
    static MODULE: OnceLock<Option<Module>> = OnceLock::new();
    MODULE
        .get_or_init(|| match load() {
            Ok(module) => Some(module),
            Err(reason) => {
                eprintln!("keyward-fault-module: error: {reason}");
                None
            }
        })
        .as_ref()
}

fn load() -> Result<Module, String> {
    let real = real_list(&variable("KEYWARD_FAULT_MODULE")?)?;
    let mut list = real;
    hooks::install(&mut list);
    Ok(Module {
        real,
        list,
        control: Control::new(PathBuf::from(variable("KEYWARD_FAULT_DIR")?)),
        sessions: Mutex::default(),
    })
}

fn variable(name: &str) -> Result<OsString, String> {
    std::env::var_os(name).ok_or_else(|| format!("the environment variable {name} is not set"))
}

/// The function list of the module at `path`, which stays loaded for good.
fn real_list(path: &OsString) -> Result<CK_FUNCTION_LIST, String> {
    type GetFunctionList = unsafe extern "C" fn(*mut CK_FUNCTION_LIST_PTR) -> CK_RV;
    let name =
        CString::new(path.as_bytes()).map_err(|_| "KEYWARD_FAULT_MODULE holds a NUL".to_owned())?;
    // SAFETY: the name ends in NUL; whoever set the variable vouches for the library's constructors.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        // SAFETY: after a failure dlerror gives a string that ends in NUL and is valid until the next dl call of this thread.
        let reason = unsafe { CStr::from_ptr(libc::dlerror()) };
        return Err(reason.to_string_lossy().into_owned());
    }
    // SAFETY: the handle is open, the name ends in NUL.
    let symbol = unsafe { libc::dlsym(handle, c"C_GetFunctionList".as_ptr()) };
    if symbol.is_null() {
        return Err(format!("{} has no C_GetFunctionList", path.display()));
    }
    // SAFETY: that symbol of a PKCS#11 module is a function of this type.
    let get = unsafe { std::mem::transmute::<*mut libc::c_void, GetFunctionList>(symbol) };
    let mut list = std::ptr::null_mut();
    // SAFETY: `list` is a place for a pointer.
    let rv = unsafe { get(&raw mut list) };
    if rv != CKR_OK || list.is_null() {
        return Err(format!(
            "C_GetFunctionList of {} gave {rv:#x}",
            path.display()
        ));
    }
    // SAFETY: CKR_OK: the pointer is to the module's function list, which nobody changes.
    Ok(unsafe { *list })
}
