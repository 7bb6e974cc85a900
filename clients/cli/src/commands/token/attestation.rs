//! `keyward token attestation-key` and `keyward token activate`

use keyward_attestation::chain::key_of;
use keyward_attestation::enrol::fingerprint;
use keyward_protocol::attestation::tpm::Public;
use keyward_protocol::attestation::{AttestationKey, Document, Identity, LONGEST, TpmIdentity};
use keyward_protocol::operation;
use serde_json::{Value, json};

use crate::agent::connect;
use crate::arguments::{Activate, TokenAttestationKey};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::hex::digits;
use crate::io;
use crate::output::{plain, print, print_json};

pub(in crate::commands) fn attestation_key(wanted: &TokenAttestationKey) -> Result<(), Error> {
    let output = wanted.output.as_deref();
    if output.is_some() {
        destination::check(output, Content::Binary)?;
    }
    let mut agent = connect()?;
    let asked = agent.call(operation::GetAttestationKey {
        token: wanted.token.clone(),
    });
    let unnamed = wanted.token.is_none();
    let command = "keyward token attestation-key";
    let answer = asked.map_err(|error| super::which(error, &mut agent, unnamed, command))?;
    if output.is_some() {
        return destination::write(output, Content::Binary, &answer.document);
    }
    let document = AttestationKey::from_document(&answer.document).map_err(fault)?;
    let Identity::Tpm(identity) = &document.identity else {
        return Err(Error::usage("only `-o FILE` is for a token of this kind"));
    };
    let shown = Shown::of(identity)?;
    match wanted.json.json {
        true => print_json(&shown.json(&answer.token)),
        false => print(&shown.text(&answer.token)),
    }
}

pub(in crate::commands) fn activate(activate: Activate) -> Result<(), Error> {
    let output = activate.output.file.as_deref();
    destination::check(output, Content::SecretBinary)?;
    let challenge = io::read(Some(&activate.challenge), LONGEST)?;
    let answer = connect()?.call(operation::ActivateCredential {
        token: activate.token,
        challenge: challenge.into(),
    })?;
    destination::write(output, Content::SecretBinary, answer.secret.expose())
}

/// What people compare.
struct Shown {
    ak_name: String,
    ek: Option<(String, String)>,
    /// How many certificates there are, and how many of them are of the endorsement key.
    certificates: (usize, usize),
}

impl Shown {
    fn of(identity: &TpmIdentity) -> Result<Self, Error> {
        let ak = Public::parse(&identity.ak).map_err(fault)?;
        let ek = identity.ek.as_ref().map(|ek| Public::parse(ek));
        let ek = ek.transpose().map_err(fault)?;
        let own = |key| {
            let certificates = identity.ek_certificates.iter();
            let own = certificates.filter(|c| key_of(c).is_ok_and(|of| of == key));
            own.count()
        };
        let certificates = match &ek {
            Some(ek) => own(ek.key.clone()),
            None => 0,
        };
        let ek = ek.map(|ek| {
            let kind = ek.key.key_type();
            let kind = kind.map_or_else(|| "RSA".to_owned(), |kind| kind.to_string());
            fingerprint(&ek.key).map(|digest| (kind, digits(&digest)))
        });
        Ok(Self {
            ak_name: digits(&ak.name),
            ek: ek.transpose().map_err(fault)?,
            certificates: (identity.ek_certificates.len(), certificates),
        })
    }

    fn text(&self, token: &str) -> String {
        let mut text = format!("token           {}\n", plain(token));
        text.push_str(&format!("attestation key {}\n", self.ak_name));
        match &self.ek {
            Some((kind, digest)) => {
                text.push_str(&format!("endorsement key {digest}  {kind}\n"));
            }
            None => text.push_str("endorsement key -\n"),
        }
        let (all, own) = self.certificates;
        text.push_str(&format!("certificates    {own} of it, {all} in all\n"));
        text
    }

    fn json(&self, token: &str) -> Value {
        let (all, own) = self.certificates;
        json!({
            "token": token,
            "ak_name": self.ak_name,
            "ek_type": self.ek.as_ref().map(|(kind, _)| kind),
            "ek_fingerprint": self.ek.as_ref().map(|(_, digest)| digest),
            "ek_certificates": own,
            "certificates": all,
        })
    }
}

fn fault(error: impl ToString) -> Error {
    Error::new(Exit::Fault, "what the token said can't be read").cause(error)
}
