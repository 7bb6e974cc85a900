//! `attest` and `get-attestation-key`.

use std::rc::Rc;

use der::{Decode, Encode};
use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::attestation::tpm::{Certify, Public};
use keyward_protocol::attestation::{
    self, AttestationKey, Bundle, Document, LEAST_NONCE, MOST_NONCE, Statement, is_nonce,
};
use keyward_protocol::operation::{Attest, Attested, GetAttestationKey, TokenAttestationKey};
use keyward_protocol::{CoseKey, ErrorCode, Failure};
use x509_cert::Certificate;

use super::place::Repeat;
use super::{misbehaved, numbered};
use crate::registry::Key;
use crate::request::{Entry, With};

impl With<'_> {
    pub(in crate::request) async fn attest(
        &self,
        key: &Key,
        op: &Attest,
        entry: &mut Entry,
    ) -> Result<Attested, Failure> {
        if !is_nonce(&op.nonce) {
            let words = format!("a nonce has {LEAST_NONCE} to {MOST_NONCE} bytes");
            return Err(Failure::new(ErrorCode::Invalid, words));
        }
        let version = numbered(key, op.version)?;
        let public = version.public.as_ref().ok_or_else(|| {
            let words = "a secret key has no public part that something could be said about";
            Failure::new(ErrorCode::MechanismInvalid, words)
        })?;
        let data = attestation::qualifying_data(&op.nonce);
        entry.digest = Some(data);
        let id = version.id;
        let work = || {
            Ok(Rc::new(Work::Attest(message::Attest {
                id,
                qualifying_data: data.into(),
            })))
        };
        let nonce = || op.nonce.to_vec();
        let bundle = self
            .on_token(version, Repeat::Always, entry, work, |token, outcome| {
                let Outcome::Attested(statement) = outcome else {
                    return Err(misbehaved(token));
                };
                if !is_about(&statement, public, &data) {
                    return Err(misbehaved(token));
                }
                let bundle = Bundle::new(statement, nonce(), public.clone());
                bundle.to_document().map_err(|_| misbehaved(token))
            })
            .await?;
        Ok(Attested {
            bundle: bundle.into(),
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    pub(in crate::request) async fn get_attestation_key(
        &self,
        op: &GetAttestationKey,
        entry: &mut Entry,
    ) -> Result<TokenAttestationKey, Failure> {
        let token = self.agent.token(op.token.as_deref())?;
        entry.token = Some(token.name().to_owned());
        let work = Rc::new(Work::AttestationKey);
        let outcome = token.call(self.authorised, work, self.deadline).await?;
        let Outcome::AttestationKey(identity) = outcome else {
            return Err(misbehaved(token));
        };
        let document = AttestationKey::new(identity).to_document();
        Ok(TokenAttestationKey {
            document: document.map_err(|_| misbehaved(token))?.into(),
            token: token.name().to_owned(),
        })
    }
}

/// Whether a statement is about this key, and made for this nonce. Whether it is true, a verifier
/// decides.
fn is_about(statement: &Statement, key: &CoseKey, data: &[u8; 32]) -> bool {
    let statement = match statement {
        Statement::Tpm(statement) => statement,
        Statement::Piv(statement) => return certified(&statement.certificate) == Some(key.clone()),
        _ => return false,
    };
    let public = Public::parse(&statement.public);
    let certify = Certify::parse(&statement.attest);
    public.is_ok_and(|public| {
        public.key == *key
            && certify
                .is_ok_and(|certify| certify.name == public.name && certify.qualifying_data == data)
    })
}

/// The key that a certificate is of.
fn certified(der: &[u8]) -> Option<CoseKey> {
    let certificate = Certificate::from_der(der).ok()?;
    let tbs = certificate.tbs_certificate();
    let spki = tbs.subject_public_key_info().to_der().ok()?;
    CoseKey::from_spki(&spki).ok()
}
