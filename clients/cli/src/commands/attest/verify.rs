//! `keyward attest verify`

use keyward_attestation::verify::{self, Attested, Bound, Unbound, Vouchers};
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
    let vouchers = Vouchers {
        enrolments: &enrolments,
        ak_roots: ak_roots.as_ref(),
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
    let verdict = match &attested.bound {
        Ok(_) => "hardware: the key was made in a TPM and can't leave it".to_owned(),
        Err(why) => format!("not bound: {}", reason(why)),
    };
    let mut rows = vec![("key", key_type(attested))];
    rows.push(("thumbprint", attested.thumbprint().to_string()));
    if let Some(policy) = &attested.policy {
        rows.push(("policy", digits(policy)));
    }
    rows.push(("attested by", digits(&attested.ak_name)));
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
    let mut text = format!("{verdict}\n");
    for (name, value) in rows {
        text.push_str(&format!("{name:11}  {value}\n"));
    }
    text
}

/// Why it is not bound, and what would bind it.
fn reason(why: &Unbound) -> String {
    let hint = match why {
        Unbound::NothingGiven | Unbound::OtherEnrolment => {
            "; `keyward attest challenge --help` says how a verifier enrols it"
        }
        _ => "",
    };
    format!("{why}, so all of this could have been made without a TPM{hint}")
}

fn as_json(attested: &Attested) -> Value {
    let mut value = json!({
        "verdict": if attested.bound.is_ok() { "hardware" } else { "not-bound" },
        "key_type": attested.key.key_type().map(|key_type| key_type.name()),
        "thumbprint": attested.thumbprint().to_string(),
        "ak_name": digits(&attested.ak_name),
        "policy": attested.policy.as_deref().map(digits),
    });
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
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn key_type(attested: &Attested) -> String {
    let key_type = attested.key.key_type();
    key_type.map_or_else(|| "RSA".to_owned(), |key_type| key_type.to_string())
}
