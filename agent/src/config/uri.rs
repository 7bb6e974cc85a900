//! The part of RFC 7512 that names a token.

use percent_encoding::percent_decode_str;
use toml::Spanned;

use super::error::Wrong;
use super::hint;

/// The attributes that tell one token from another.
const TOKEN: [&str; 4] = ["token", "manufacturer", "serial", "model"];
/// The attributes that tell one slot from another.
const SLOT: [&str; 3] = ["slot-id", "slot-description", "slot-manufacturer"];
/// The attributes that name a key, which keyward chooses itself.
const OBJECT: [&str; 3] = ["id", "object", "type"];

/// Checks that a URI names a token, and neither a key nor a PIN.
pub(super) fn check(field: &Spanned<String>) -> Result<(), Wrong> {
    let wrong = |what: String| Wrong::new(field.span(), what);
    let example = "for example \"pkcs11:token=demo\"";
    let uri = field.get_ref();
    let Some(rest) = uri.strip_prefix("pkcs11:") else {
        return Err(
            wrong("this is no PKCS#11 URI: it does not begin with `pkcs11:`".to_owned())
                .hint(example),
        );
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let asks_pin = |part: &str| part.starts_with("pin-value") || part.starts_with("pin-source");
    if query.split('&').chain(path.split(';')).any(asks_pin) {
        return Err(wrong("a PIN does not belong into a URI".to_owned())
            .secret()
            .hint("pin = \"ask\" or pin = { file = \"/path\" } below it"));
    }
    if !query.is_empty() {
        return Err(wrong("nothing after `?` has a meaning here".to_owned())
            .hint("module = \"/path\" names the module"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for attribute in path.split(';') {
        let Some((name, value)) = attribute.split_once('=') else {
            return Err(
                wrong(format!("`{}` is not NAME=VALUE", attribute.escape_debug())).hint(example),
            );
        };
        check_name(name, &seen).map_err(|(what, advice)| wrong(what).hint(advice))?;
        check_value(name, value).map_err(|what| wrong(what).hint(example))?;
        seen.push(name);
    }
    Ok(())
}

fn check_name(name: &str, seen: &[&str]) -> Result<(), (String, String)> {
    let shown = name.escape_debug();
    if OBJECT.contains(&name) {
        let what = format!("`{shown}` names a key; here only the token is named");
        return Err((
            what,
            "leave it out: keyward keeps count of keys itself".to_owned(),
        ));
    }
    let known = || TOKEN.into_iter().chain(SLOT);
    if !known().any(|known| known == name) {
        let advice = match hint::nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        return Err((format!("`{shown}` is no attribute of a token"), advice));
    }
    if seen.contains(&name) {
        let what = format!("`{shown}` is there twice");
        return Err((what, "leave one".to_owned()));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    let mut escapes = value.split('%');
    // RFC 7512 §2.3: what is no unreserved or allowed character is percent-encoded.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]@!$'()*+,=&".contains(c);
    let plain = escapes.next().unwrap_or_default();
    let mut bad = !plain.chars().all(allowed);
    for escape in escapes {
        let (code, plain) = escape.split_at_checked(2).unwrap_or(("", ""));
        bad |= code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_hexdigit());
        bad |= !plain.chars().all(allowed);
    }
    if bad {
        return Err(format!(
            "the value of `{name}` has a character that must be percent-encoded, such as %20 for a space"
        ));
    }
    let value = percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| format!("the value of `{name}` is not UTF-8"))?;
    if value.is_empty() {
        return Err(format!("the value of `{name}` is empty"));
    }
    if name == "slot-id" && value.parse::<u64>().is_err() {
        return Err("the value of `slot-id` is no number".to_owned());
    }
    // CK_TOKEN_INFO: label and manufacturerID have 32 bytes, model and serialNumber 16.
    let most = match name {
        "token" | "manufacturer" | "slot-manufacturer" => 32,
        "serial" | "model" => 16,
        _ => 64,
    };
    if value.len() > most {
        return Err(format!(
            "the value of `{name}` is longer than the {most} bytes that a token has for it"
        ));
    }
    Ok(())
}
