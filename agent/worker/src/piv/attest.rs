//! ATTEST (Yubico's extension, from firmware 4.3): a certificate that says that the card made a key.

use keyward_backend::message::Attest;
use keyward_backend::{BackendError, Result};
use keyward_protocol::attestation::{PivStatement, Statement};

use super::certificate;
use super::session::Session;

/// The object with the certificate of the key that attests, which is in slot f9.
const ATTESTATION: u32 = 0x5f_ff01;

impl Session<'_> {
    /// The card signs no nonce: its answer is the same each time.
    pub(super) fn attest_key(&self, attest: &Attest) -> Result<Statement> {
        let piv = self.piv;
        piv.pins.get()?;
        piv.with_card(|card, cache| {
            let key = self.find(card, cache, attest.id)?;
            let Some(certificate) = card.attestation(key.slot)? else {
                return Err(BackendError::MechanismInvalid(
                    "this card attests only keys that it made itself, and from firmware 4.3 on"
                        .to_owned(),
                )
                .into());
            };
            if certificate::public_key(&certificate)? != key.public {
                return Err(BackendError::Refused(
                    "the card's attestation is about another key".to_owned(),
                )
                .into());
            }
            let object = card.object(ATTESTATION)?;
            let issuer = match &object {
                Some(object) => vec![certificate::unpack(object)?.to_vec().into()],
                None => Vec::new(),
            };
            Ok(Statement::Piv(PivStatement {
                certificate: certificate.to_vec().into(),
                chain: issuer,
            }))
        })
    }
}
