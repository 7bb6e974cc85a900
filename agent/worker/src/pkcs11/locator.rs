//! Where a key lives, as an RFC 7512 URI.

use cryptoki::object::ObjectClass;
use keyward_backend::{TokenIdentity, VersionId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The URI of a private or secret key.
pub(super) fn of_key(
    label: &str,
    identity: &TokenIdentity,
    id: VersionId,
    class: ObjectClass,
) -> String {
    let text = |text| utf8_percent_encode(text, RESERVED);
    let kind = match class {
        ObjectClass::SECRET_KEY => "secret-key",
        _ => "private",
    };
    let id: String = id
        .as_bytes()
        .iter()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    format!(
        "pkcs11:token={};manufacturer={};model={};serial={};id={id};type={kind}",
        text(label),
        text(&identity.manufacturer),
        text(&identity.model),
        text(&identity.serial),
    )
}
