//! What of TPM 2.0 Library Part 2 and Part 3 the harness must know.

/// The command codes that tests count or hold, by their names in Part 2.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod code {
    pub const HIERARCHY_CHANGE_AUTH: u32 = 0x129;
    pub const CREATE_PRIMARY: u32 = 0x131;
    pub const STARTUP: u32 = 0x144;
    pub const SHUTDOWN: u32 = 0x145;
    pub const DICTIONARY_ATTACK_LOCK_RESET: u32 = 0x139;
    pub const ACTIVATE_CREDENTIAL: u32 = 0x147;
    pub const OBJECT_CHANGE_AUTH: u32 = 0x150;
    pub const CREATE: u32 = 0x153;
    pub const ECDH_ZGEN: u32 = 0x154;
    pub const HMAC: u32 = 0x155;
    pub const LOAD: u32 = 0x157;
    pub const RSA_DECRYPT: u32 = 0x159;
    pub const SIGN: u32 = 0x15d;
    pub const UNSEAL: u32 = 0x15e;
    pub const CONTEXT_LOAD: u32 = 0x161;
    pub const CONTEXT_SAVE: u32 = 0x162;
    pub const FLUSH_CONTEXT: u32 = 0x165;
    pub const LOAD_EXTERNAL: u32 = 0x167;
    pub const READ_PUBLIC: u32 = 0x173;
    pub const START_AUTH_SESSION: u32 = 0x176;
    pub const VERIFY_SIGNATURE: u32 = 0x177;
    pub const GET_CAPABILITY: u32 = 0x17a;
    pub const GET_RANDOM: u32 = 0x17b;
    pub const CREATE_LOADED: u32 = 0x191;
    /// What uses a key.
    pub const USES: [u32; 5] = [SIGN, ECDH_ZGEN, RSA_DECRYPT, HMAC, UNSEAL];
}

/// The response codes that tests inject, by their names in Part 2.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod rc {
    pub const SUCCESS: u32 = 0;
    pub const INITIALIZE: u32 = 0x100;
    pub const FAILURE: u32 = 0x101;
    pub const OBJECT_MEMORY: u32 = 0x902;
    pub const SESSION_MEMORY: u32 = 0x903;
    pub const REFERENCE_H0: u32 = 0x910;
    pub const LOCKOUT: u32 = 0x921;
    pub const RETRY: u32 = 0x922;
    /// `TPM_RC_AUTH_FAIL` of the first session.
    pub const AUTH_FAIL: u32 = 0x98e;
}

/// `TPM_ST_NO_SESSIONS` and `TPM_ST_SESSIONS`.
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// Tag, size, code.
pub const HEADER: usize = 10;

/// The 32 bits at a place, or 0 where there are none.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// How long a command or response is by its header.
#[must_use]
pub fn size(header: &[u8]) -> usize {
    usize::try_from(u32_at(header, 2)).unwrap_or(usize::MAX)
}

/// The command code of a command, the response code of a response.
#[must_use]
pub fn code_of(bytes: &[u8]) -> u32 {
    u32_at(bytes, 6)
}

/// The first handle of a command, or that of a response.
#[must_use]
pub fn handle_of(bytes: &[u8]) -> u32 {
    u32_at(bytes, HEADER)
}

/// Whether a command carries authorisations.
#[must_use]
pub fn has_sessions(bytes: &[u8]) -> bool {
    bytes.starts_with(&SESSIONS.to_be_bytes())
}

/// A response that is a code and nothing else.
#[must_use]
pub fn response(code: u32) -> Vec<u8> {
    message(code, &[])
}

/// `TPM2_Startup`; with `state` after a suspension.
#[must_use]
pub fn startup(state: bool) -> Vec<u8> {
    message(code::STARTUP, &u16::from(state).to_be_bytes())
}

/// `TPM2_Shutdown`; with `state` before a suspension.
#[must_use]
pub fn shutdown(state: bool) -> Vec<u8> {
    message(code::SHUTDOWN, &u16::from(state).to_be_bytes())
}

/// `TPM2_GetRandom`.
#[must_use]
pub fn get_random(count: u16) -> Vec<u8> {
    message(code::GET_RANDOM, &count.to_be_bytes())
}

/// `TPM2_DictionaryAttackParameters` with an empty lockout authorisation: the TPM locks out after so
/// many wrong tries, at once if it is none, and takes one back in 1000 seconds.
#[must_use]
pub fn lock_out_after(tries: u32) -> Vec<u8> {
    const LOCKOUT: u32 = 0x4000_000a;
    const PASSWORD: u32 = 0x4000_0009;
    // The session has neither a nonce nor a value: handle, size, attributes, size.
    let session = [PASSWORD.to_be_bytes().as_slice(), &[0, 0, 1, 0, 0]].concat();
    let fields = [LOCKOUT, 9].map(u32::to_be_bytes).concat();
    let parameters = [tries, 1000, 1000].map(u32::to_be_bytes).concat();
    let body = [fields, session, parameters].concat();
    let mut command = message(0x13a, &body);
    command.splice(..2, SESSIONS.to_be_bytes());
    command
}

fn message(code: u32, parameters: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER.saturating_add(parameters.len())).unwrap_or(u32::MAX);
    let mut message = NO_SESSIONS.to_be_bytes().to_vec();
    message.extend(size.to_be_bytes());
    message.extend(code.to_be_bytes());
    message.extend(parameters);
    message
}
