//! The calls whose output can be changed, or that change what this module knows.
//!
//! `Err` holds the `CK_RV` to return where it is not `CKR_OK`. Each function is called with the arguments of the PKCS#11 call
//! of its name, whose contract its caller follows.

#![allow(non_snake_case, reason = "the names of the specification")]
#![allow(
    clippy::too_many_arguments,
    reason = "the arguments of the specification"
)]
#![allow(clippy::missing_safety_doc, reason = "said above, once")]

use std::{
    collections::HashMap,
    ffi::c_void,
    slice,
    sync::{MutexGuard, PoisonError},
};

use cryptoki_sys::*;

use crate::{Module, control::number, hooks::real};

type Outcome = Result<CK_RV, CK_RV>;

pub(crate) unsafe fn C_Finalize(module: &Module, reserved: *mut c_void) -> Outcome {
    module.control.before("C_Finalize")?;
    ok(real!(module, C_Finalize(reserved)))?;
    sessions(module).clear();
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_GetTokenInfo(
    module: &Module,
    slot: CK_SLOT_ID,
    info: *mut CK_TOKEN_INFO,
) -> Outcome {
    const NAME: &str = "C_GetTokenInfo";
    module.control.before(NAME)?;
    ok(real!(module, C_GetTokenInfo(slot, info)))?;
    // SAFETY: CKR_OK: the pointer is good and its target filled.
    let info = unsafe { &mut *info };
    if let Some(serial) = module.control.read(NAME, "serial") {
        let padded = serial.trim().bytes().chain(std::iter::repeat(b' '));
        info.serialNumber
            .iter_mut()
            .zip(padded)
            .for_each(|(to, from)| *to = from);
    }
    if module.control.has(NAME, "garble") {
        flip(&mut info.serialNumber);
    }
    info.flags |= module.control.number(NAME, "flags").unwrap_or_default() as CK_FLAGS;
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_GetMechanismList(
    module: &Module,
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> Outcome {
    const NAME: &str = "C_GetMechanismList";
    if list.is_null() {
        // The number of all of them: no smaller than what will be there.
        return Ok(real!(module, C_GetMechanismList(slot, list, count)));
    }
    module.control.before(NAME)?;
    ok(real!(module, C_GetMechanismList(slot, list, count)))?;
    let hidden = hidden(module, NAME);
    // SAFETY: CKR_OK: `count` is good and holds the number of mechanisms written to `list`.
    let mechanisms = unsafe { slice::from_raw_parts_mut(list, *count as usize) };
    let shown: Vec<_> = mechanisms
        .iter()
        .copied()
        .filter(|mechanism| !hidden.contains(mechanism))
        .collect();
    mechanisms
        .iter_mut()
        .zip(&shown)
        .for_each(|(to, from)| *to = *from);
    if module.control.has(NAME, "garble")
        && let Some(first) = mechanisms.first_mut()
    {
        *first ^= 1;
    }
    // SAFETY: as above.
    unsafe { *count = shown.len() as CK_ULONG };
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_GetMechanismInfo(
    module: &Module,
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> Outcome {
    module.control.before("C_GetMechanismInfo")?;
    if hidden(module, "C_GetMechanismList").contains(&mechanism) {
        return Err(CKR_MECHANISM_INVALID);
    }
    ok(real!(module, C_GetMechanismInfo(slot, mechanism, info)))?;
    if module.control.has("C_GetMechanismInfo", "garble") {
        // SAFETY: CKR_OK: the pointer is good and its target filled.
        unsafe { (*info).flags ^= 1 << 11 }; // CKF_SIGN
    }
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_OpenSession(
    module: &Module,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> Outcome {
    const NAME: &str = "C_OpenSession";
    module.control.before(NAME)?;
    // Held across the call, so that two threads can't both take the last session.
    let mut open = sessions(module);
    if module
        .control
        .number(NAME, "limit")
        .is_some_and(|limit| open.len() as u64 >= limit)
    {
        return Err(CKR_SESSION_COUNT);
    }
    ok(real!(
        module,
        C_OpenSession(slot, flags, application, notify, session)
    ))?;
    // SAFETY: CKR_OK: the pointer is good and its target filled.
    let session = unsafe { &mut *session };
    open.insert(*session, slot);
    garble_handle(module, NAME, session);
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_CloseSession(module: &Module, session: CK_SESSION_HANDLE) -> Outcome {
    module.control.before("C_CloseSession")?;
    let mut open = sessions(module);
    ok(real!(module, C_CloseSession(session)))?;
    open.remove(&session);
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_CloseAllSessions(module: &Module, slot: CK_SLOT_ID) -> Outcome {
    module.control.before("C_CloseAllSessions")?;
    let mut open = sessions(module);
    ok(real!(module, C_CloseAllSessions(slot)))?;
    open.retain(|_, of| *of != slot);
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_GetAttributeValue(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Outcome {
    const NAME: &str = "C_GetAttributeValue";
    // SAFETY: the caller gives `count` attributes, or none at null.
    let wanted = unsafe { slice_of(template, count) };
    if wanted.iter().all(|attribute| attribute.pValue.is_null()) {
        return Ok(real!(
            module,
            C_GetAttributeValue(session, object, template, count)
        ));
    }
    module.control.before(NAME)?;
    let mut rv = real!(
        module,
        C_GetAttributeValue(session, object, template, count)
    );
    let hidden = hidden(module, NAME);
    let replaced = replacements(module, NAME);
    let garble = module.control.has(NAME, "garble");
    // SAFETY: as above, and the real module has left the slice by now.
    for attribute in unsafe { slice_of(template, count) } {
        if hidden.contains(&attribute.type_) {
            attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
            rv = CKR_ATTRIBUTE_TYPE_INVALID;
        }
        if attribute.pValue.is_null() || attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION {
            continue;
        }
        // SAFETY: the real module wrote `ulValueLen` bytes to the caller's buffer.
        let value = unsafe { slice_of(attribute.pValue.cast::<u8>(), attribute.ulValueLen) };
        if let Some(other) = replaced
            .get(&attribute.type_)
            .filter(|other| other.len() == value.len())
        {
            value.copy_from_slice(other);
        }
        if garble {
            flip(value);
        }
    }
    Ok(rv)
}

pub(crate) unsafe fn C_Sign(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> Outcome {
    const NAME: &str = "C_Sign";
    if signature.is_null() {
        return Ok(real!(
            module,
            C_Sign(session, data, data_length, signature, length)
        ));
    }
    module.control.before(NAME)?;
    ok(real!(
        module,
        C_Sign(session, data, data_length, signature, length)
    ))?;
    // SAFETY: CKR_OK: `length` is good and holds the number of bytes written to `signature`.
    unsafe { garble_bytes(module, NAME, signature, &mut *length) };
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_EncryptInit(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> Outcome {
    const NAME: &str = "C_EncryptInit";
    module.control.before(NAME)?;
    // SAFETY: the caller gives a mechanism, or null.
    let asked = unsafe { mechanism.as_ref() };
    if let Some(iv) = module.control.read(NAME, "iv")
        && let Some(asked) = asked.filter(|asked| asked.mechanism == CKM_AES_GCM)
    {
        // SAFETY: the parameter of this mechanism, whose IV is the caller's to be written over (PKCS#11 3.0 §2.11.3).
        unsafe {
            let params = &*asked.pParameter.cast::<CK_GCM_PARAMS>();
            slice_of(params.pIv, params.ulIvLen).copy_from_slice(&unhex(&iv));
        }
    }
    Ok(real!(module, C_EncryptInit(session, mechanism, key)))
}

pub(crate) unsafe fn C_Encrypt(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    ciphertext: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> Outcome {
    const NAME: &str = "C_Encrypt";
    if ciphertext.is_null() {
        return Ok(real!(
            module,
            C_Encrypt(session, data, data_length, ciphertext, length)
        ));
    }
    module.control.before(NAME)?;
    ok(real!(
        module,
        C_Encrypt(session, data, data_length, ciphertext, length)
    ))?;
    // SAFETY: CKR_OK: `length` is good and holds the number of bytes written to `ciphertext`.
    unsafe { garble_bytes(module, NAME, ciphertext, &mut *length) };
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_Decrypt(
    module: &Module,
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    plaintext: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> Outcome {
    const NAME: &str = "C_Decrypt";
    if plaintext.is_null() {
        return Ok(real!(
            module,
            C_Decrypt(session, data, data_length, plaintext, length)
        ));
    }
    module.control.before(NAME)?;
    ok(real!(
        module,
        C_Decrypt(session, data, data_length, plaintext, length)
    ))?;
    // SAFETY: CKR_OK: `length` is good and holds the number of bytes written to `plaintext`.
    unsafe { garble_bytes(module, NAME, plaintext, &mut *length) };
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_WrapKey(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    by: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> Outcome {
    const NAME: &str = "C_WrapKey";
    const BLOCK: CK_ULONG = 8;
    if !wrapped.is_null() {
        module.control.before(NAME)?;
    }
    // SAFETY: the caller gives a mechanism, or null.
    let asked = unsafe { mechanism.as_ref() }.map(|asked| asked.mechanism);
    ok(real!(
        module,
        C_WrapKey(session, mechanism, by, key, wrapped, length)
    ))?;
    if asked == Some(CKM_AES_KEY_WRAP_PAD)
        && module.control.has(NAME, "pkcs7")
        && length_of(module, session, key)?.is_multiple_of(BLOCK)
    {
        // SAFETY: CKR_OK: the pointer is good and its target filled.
        let length = unsafe { &mut *length };
        if !wrapped.is_null() {
            // SAFETY: the query for the length said that there must be a block more.
            unsafe { slice::from_raw_parts_mut(wrapped.add(*length as usize), BLOCK as usize) }
                .fill(0);
        }
        *length = length.saturating_add(BLOCK);
    }
    Ok(CKR_OK)
}

/// The length of a secret key, in bytes.
fn length_of(
    module: &Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> Result<CK_ULONG, CK_RV> {
    let mut length: CK_ULONG = 0;
    let mut attribute = CK_ATTRIBUTE {
        type_: CKA_VALUE_LEN,
        pValue: (&raw mut length).cast(),
        ulValueLen: size_of::<CK_ULONG>() as CK_ULONG,
    };
    ok(real!(
        module,
        C_GetAttributeValue(session, key, &raw mut attribute, 1)
    ))?;
    Ok(length)
}

pub(crate) unsafe fn C_DeriveKey(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    base: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Outcome {
    const NAME: &str = "C_DeriveKey";
    module.control.before(NAME)?;
    ok(real!(
        module,
        C_DeriveKey(session, mechanism, base, template, count, key)
    ))?;
    // SAFETY: CKR_OK: the pointer is good and its target filled.
    garble_handle(module, NAME, unsafe { &mut *key });
    Ok(CKR_OK)
}

pub(crate) unsafe fn C_GenerateKeyPair(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public_template: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private_template: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public: *mut CK_OBJECT_HANDLE,
    private: *mut CK_OBJECT_HANDLE,
) -> Outcome {
    const NAME: &str = "C_GenerateKeyPair";
    module.control.before(NAME)?;
    ok(real!(
        module,
        C_GenerateKeyPair(
            session,
            mechanism,
            public_template,
            public_count,
            private_template,
            private_count,
            public,
            private
        )
    ))?;
    // SAFETY: CKR_OK: the pointers are good and their targets filled.
    garble_handle(module, NAME, unsafe { &mut *public });
    // SAFETY: as above.
    garble_handle(module, NAME, unsafe { &mut *private });
    Ok(CKR_OK)
}

fn ok(rv: CK_RV) -> Result<(), CK_RV> {
    if rv == CKR_OK { Ok(()) } else { Err(rv) }
}

fn sessions(module: &Module) -> MutexGuard<'_, HashMap<CK_SESSION_HANDLE, CK_SLOT_ID>> {
    module
        .sessions
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn hidden(module: &Module, call: &str) -> Vec<CK_ULONG> {
    module
        .control
        .numbers(call, "hide")
        .into_iter()
        .map(|number| number as CK_ULONG)
        .collect()
}

/// The lines `NUMBER=HEX` of `CALL.replace`.
fn replacements(module: &Module, call: &str) -> HashMap<CK_ATTRIBUTE_TYPE, Vec<u8>> {
    let text = module.control.read(call, "replace").unwrap_or_default();
    let entry = |line: &str| {
        let (attribute, value) = line.split_once('=')?;
        let bytes = unhex(value);
        Some((number(attribute) as CK_ATTRIBUTE_TYPE, bytes))
    };
    text.lines()
        .map(|line| {
            entry(line).unwrap_or_else(|| {
                panic!("keyward-fault-module: {call}.replace has the line {line:?}")
            })
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: char| {
        let value = digit.to_digit(16);
        value.unwrap_or_else(|| panic!("keyward-fault-module: {digit:?} in {text:?}")) as u8
    };
    let digits: Vec<u8> = text.trim().chars().map(digit).collect();
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect()
}

/// # Safety
/// `at` is null or points to `count` values that nobody else uses meanwhile.
unsafe fn slice_of<'a, T>(at: *mut T, count: CK_ULONG) -> &'a mut [T] {
    if at.is_null() {
        return &mut [];
    }
    // SAFETY: not null; the rest is the caller's promise.
    unsafe { slice::from_raw_parts_mut(at, count as usize) }
}

/// # Safety
/// As [`slice_of`].
unsafe fn garble_bytes(module: &Module, call: &str, at: *mut u8, length: &mut CK_ULONG) {
    if module.control.has(call, "garble") {
        // SAFETY: the caller's promise.
        flip(unsafe { slice_of(at, *length) });
    }
    if module.control.has(call, "short") {
        *length = length.saturating_sub(1);
    }
}

fn garble_handle(module: &Module, call: &str, handle: &mut CK_ULONG) {
    if module.control.has(call, "garble") {
        *handle ^= 1;
    }
}

/// Flips the lowest bit of the last byte.
fn flip(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}
