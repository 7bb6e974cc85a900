//! `keyward attest verify`

use keyward_attestation::piv::Card;
use keyward_attestation::verify::{self, Attested, Bound, Said, Unbound, Vouchers};
use keyward_client::key_format;
use keyward_protocol::attestation::Bundle;
use keyward_protocol::attestation::enrolment::Enrolment;
use serde_json::{Value, json};

use super::{document, now, roots};
use crate::arguments::AttestVerify;
use crate::error::Error;
use crate::exit::Exit;
use crate::hex::digits;
use crate::io;
use crate::output::{self, print, print_json};

/// More than a public key has in any form.
const LONGEST_KEY: usize = 16 * 1024;

pub(super) fn verify(verify: AttestVerify) -> Result<(), Error> {
    let bundle: Bundle = document(&verify.bundle)?;
    let enrolments = verify.enrolment.iter().map(|file| document(file));
    let enrolments = enrolments.collect::<Result<Vec<Enrolment>, _>>()?;
    let ak_roots = verify.ak_roots.as_deref().map(roots).transpose()?;
    let piv_roots = verify.piv_roots.as_deref().map(roots).transpose()?;
    let vouchers = Vouchers {
        enrolments: &enrolments,
        ak_roots: ak_roots.as_ref(),
        piv_roots: piv_roots.as_ref(),
        now: now(),
    };
    let refused = |cause: String| {
        let name = io::name(Some(&verify.bundle));
        Error::new(Exit::Negative, format!("{name} proves nothing")).cause(cause)
    };
    let attested = verify::verify(&bundle, &verify.nonce, &vouchers);
    let attested = attested.map_err(|error| refused(error.to_string()))?;
    if let Some(file) = &verify.public_key {
        let bytes = io::read(Some(file), LONGEST_KEY)?;
        let key = key_format::parse(&bytes).map_err(|e| {
            let name = io::name(Some(file));
            Error::usage(format!("{name} is no public key")).cause(e)
        })?;
        if key != attested.key {
            let name = io::name(Some(file));
            return Err(refused(format!("it is about another key than {name}")));
        }
    }
    match verify.json.json {
        true => print_json(&as_json(&attested))?,
        false => print(&as_text(&attested))?,
    }
    match attested.bound {
        Ok(_) => Ok(()),
        // The verdict is on stdout.
        Err(_) => Err(Error::silent(Exit::Negative)),
    }
}

fn as_text(attested: &Attested) -> String {
    let token = token(attested);
    let verdict = match &attested.bound {
        Ok(_) => format!("hardware: the key was made in a {token} and can't leave it"),
        Err(why) => format!("not bound: {}", reason(why, token)),
    };
    let mut rows = vec![("key", key_type(attested))];
    rows.push(("thumbprint", attested.thumbprint().to_string()));
    match &attested.said {
        Said::Tpm { policy, ak_name } => {
            if let Some(policy) = policy {
                rows.push(("policy", digits(policy)));
            }
            rows.push(("attested by", digits(ak_name)));
        }
        Said::Piv(card) => rows.extend(card_rows(card)),
        _ => {}
    }
    match &attested.bound {
        Ok(Bound::Enrolment {
            ek_fingerprint,
            enrolled,
        }) => {
            rows.push(("enrolled", output::time(*enrolled)));
            rows.push(("of the TPM", digits(ek_fingerprint)));
        }
        Ok(_) => rows.push((
            "bound by",
            "a certificate of the attestation key".to_owned(),
        )),
        Err(_) => {}
    }
    if !attested.is_fresh() {
        let words = "no: a card signs no nonce; have the key sign something that you choose";
        rows.push(("fresh", words.to_owned()));
    }
    let mut text = format!("{verdict}\n");
    for (name, value) in rows {
        text.push_str(&format!("{name:11}  {value}\n"));
    }
    text
}

fn card_rows(card: &Card) -> Vec<(&'static str, String)> {
    let mut rows = vec![("firmware", firmware(card))];
    if let Some(serial) = card.serial {
        rows.push(("card", serial.to_string()));
    }
    rows.push(("PIN", pin_policy(card)));
    rows.push(("touch", touch_policy(card)));
    if let Some(form) = card.form_factor {
        rows.push(("form", form_factor(form)));
    }
    rows
}

fn firmware(card: &Card) -> String {
    let [major, minor, patch] = card.firmware;
    format!("{major}.{minor}.{patch}")
}

fn pin_policy(card: &Card) -> String {
    named(
        &["never", "once", "always", "match-once", "match-always"],
        card.pin_policy,
    )
}

fn touch_policy(card: &Card) -> String {
    named(&["never", "always", "cached"], card.touch_policy)
}

/// The form. The two highest bits are not part of it; the first says that it is of the series for
/// FIPS.
fn form_factor(form: u8) -> String {
    let names = [
        "USB-A keychain",
        "USB-A nano",
        "USB-C keychain",
        "USB-C nano",
        "USB-C and Lightning",
        "USB-A with fingerprints",
        "USB-C with fingerprints",
    ];
    let series = match form & 0x80 {
        0 => "",
        _ => ", FIPS series",
    };
    format!("{}{series}", named(&names, form & 0x3f))
}

/// The name of a number; names begin with that of 1.
fn named(names: &[&str], number: u8) -> String {
    let index = usize::from(number).checked_sub(1);
    let name = index.and_then(|index| names.get(index));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// What people call the kind of token.
fn token(attested: &Attested) -> &'static str {
    match &attested.said {
        Said::Piv(_) => "PIV card",
        _ => "TPM",
    }
}

/// Why it is not bound, and what would bind it.
fn reason(why: &Unbound, token: &str) -> String {
    let hint = match why {
        Unbound::NothingGiven | Unbound::OtherEnrolment => {
            "; `keyward attest challenge --help` says how a verifier enrols it"
        }
        Unbound::NoCardRoots => "; give the certificates of its manufacturer by --piv-roots",
        _ => "",
    };
    format!("{why}, so all of this could have been made without a {token}{hint}")
}

fn as_json(attested: &Attested) -> Value {
    let mut value = json!({
        "verdict": if attested.bound.is_ok() { "hardware" } else { "not-bound" },
        "key_type": attested.key.key_type().map(|key_type| key_type.name()),
        "thumbprint": attested.thumbprint().to_string(),
        "token": if matches!(attested.said, Said::Piv(_)) { "piv" } else { "tpm" },
        "fresh": attested.is_fresh(),
    });
    let said = match &attested.said {
        Said::Tpm { policy, ak_name } => json!({
            "ak_name": digits(ak_name),
            "policy": policy.as_deref().map(digits),
        }),
        Said::Piv(card) => json!({
            "firmware": firmware(card),
            "serial": card.serial,
            "pin_policy": pin_policy(card),
            "touch_policy": touch_policy(card),
            "form_factor": card.form_factor.map(form_factor),
        }),
        _ => Value::Null,
    };
    let more = match &attested.bound {
        Ok(Bound::Enrolment {
            ek_fingerprint,
            enrolled,
        }) => json!({
            "bound_by": "enrolment",
            "ek_fingerprint": digits(ek_fingerprint),
            "enrolled": enrolled,
        }),
        Ok(_) => json!({ "bound_by": "certificate" }),
        Err(why) => json!({ "why": why.to_string() }),
    };
    for more in [said, more] {
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
    }
    value
}

fn key_type(attested: &Attested) -> String {
    let key_type = attested.key.key_type();
    key_type.map_or_else(|| "RSA".to_owned(), |key_type| key_type.to_string())
}
