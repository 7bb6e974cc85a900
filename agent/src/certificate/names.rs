//! The subject's alternative names (RFC 5280 §4.2.1.6).

use der::Encode;
use der::asn1::{Ia5String, OctetString};
use der::oid::AssociatedOid as _;
use keyward_protocol::operation::SubjectAltName as Wanted;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::Wrong;

/// The most names of a request.
const MOST: usize = 64;
/// The longest DNS name, in characters (RFC 1035 §2.3.4).
const MOST_DNS: usize = 253;
/// The longest label of a DNS name.
const MOST_LABEL: usize = 63;
/// The longest mailbox (RFC 5321 §4.5.3.1.3, without the brackets).
const MOST_EMAIL: usize = 254;
/// The longest URI.
const MOST_URI: usize = 512;

/// The extension with all of them.
pub(super) fn extension(names: &[Wanted], critical: bool) -> Result<Extension, Wrong> {
    if names.len() > MOST {
        return Err(Wrong::new(format!(
            "{} alternative names, where {MOST} are the most",
            names.len()
        )));
    }
    let names = names.iter().map(general_name).collect::<Result<_, _>>()?;
    Ok(Extension {
        extn_id: SubjectAltName::OID,
        critical,
        extn_value: OctetString::new(SubjectAltName(names).to_der()?)?,
    })
}

fn general_name(name: &Wanted) -> Result<GeneralName, Wrong> {
    let wrong = |kind: &str, text: &str| {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
        Wrong::new(format!("{shown:?} is no {kind}"))
    };
    Ok(match name {
        Wanted::Dns(text) if is_dns(text) => GeneralName::DnsName(Ia5String::new(text)?),
        Wanted::Dns(text) => return Err(wrong("DNS name; write it in its ASCII form", text)),
        Wanted::Email(text) if is_email(text) => GeneralName::Rfc822Name(Ia5String::new(text)?),
        Wanted::Email(text) => return Err(wrong("mailbox in ASCII", text)),
        Wanted::Uri(text) if is_uri(text) => {
            GeneralName::UniformResourceIdentifier(Ia5String::new(text)?)
        }
        Wanted::Uri(text) => return Err(wrong("URI with a scheme", text)),
        Wanted::Ip(address) => GeneralName::IpAddress(OctetString::new(address.as_slice())?),
    })
}

/// Letters, digits and hyphens (RFC 5280 §4.2.1.6), and `*` as the whole first label (RFC 9525).
fn is_dns(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= MOST_DNS && rest.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=MOST_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    text.len() <= MOST_EMAIL
        && is_graphic(local)
        && !local.contains(['@', '<', '>', '(', ')', ',', ';', ':', '\\', '"', '[', ']'])
        && !domain.starts_with("*.")
        && is_dns(domain)
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let follows = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.len() <= MOST_URI
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(follows)
        && is_graphic(rest)
        && !rest.contains(['<', '>', '"', '\\', '^', '`', '{', '|', '}'])
}

fn is_graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_letters_digits_and_hyphens() {
        let long = |labels: usize| vec!["a".repeat(63); labels].join(".");
        for name in [
            "localhost",
            "a.b-c.example",
            "*.example.org",
            "xn--bcher-kva.example",
            "1.2",
        ] {
            assert!(is_dns(name), "{name}");
        }
        assert!(is_dns(&long(3)) && !is_dns(&long(4)));
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "*",
            "*.",
            "a.*.b",
            "*a.b",
            "bücher.example",
            "a b",
            "a\0b",
            "a_b",
            "a/b",
            "good.example\0.evil.example",
            "http://a",
        ] {
            assert!(!is_dns(name), "{name:?}");
        }
        assert!(!is_dns(&"a".repeat(64)));
    }

    #[test]
    fn mailboxes_and_uris_are_plain() {
        for text in ["a@b", "a.b+c@example.org"] {
            assert!(is_email(text), "{text}");
        }
        for text in [
            "", "@", "a@", "@b", "a@b@c", "a b@c", "a\n@b", "é@b", "a@*.b", "<a@b>",
        ] {
            assert!(!is_email(text), "{text:?}");
        }
        for text in [
            "spiffe://example.org/web",
            "urn:uuid:1",
            "https://a/?b=%20#c",
        ] {
            assert!(is_uri(text), "{text}");
        }
        for text in [
            "",
            ":",
            "a",
            "a:",
            "1a:b",
            "a b:c",
            "a:b c",
            "a:\0",
            "http://é",
        ] {
            assert!(!is_uri(text), "{text:?}");
        }
    }
}
