//! What a PIV card proves by Yubico's attestation: a certificate of the key, signed by the key in slot
//! f9, which has a certificate of the manufacturer.
//!
//! The card signs no nonce, so none of this says that anybody has the key now.

use keyward_protocol::CoseKey;
use keyward_protocol::attestation::PivStatement;
use keyward_protocol::attestation::piv::CardCertificate;

use crate::chain::{self, ChainError, Roots, Usage};
use crate::verify::{Attested, Bound, Refused, Said, Unbound, Vouchers};

/// The firmware of which RSA keys can be computed from their public halves (CVE-2017-15361), and that
/// which is the first without.
const WEAK_RSA: std::ops::Range<[u8; 3]> = [4, 2, 6]..[4, 3, 5];

/// What a card says about itself and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its firmware.
    pub firmware: [u8; 3],
    /// Its serial number; older ones don't give it.
    pub serial: Option<u32>,
    /// When it wants the PIN, in Yubico's numbers.
    pub pin_policy: u8,
    /// When it wants to be touched, in Yubico's numbers.
    pub touch_policy: u8,
    /// What it looks like, in Yubico's numbers; older ones don't say.
    pub form_factor: Option<u8>,
}

/// Decides what a card's statement proves about a key.
pub(crate) fn verify(
    key: &CoseKey,
    statement: &PivStatement,
    vouchers: &Vouchers<'_>,
) -> Result<Attested, Refused> {
    let card = card(&statement.certificate)?;
    let own = chain::key_of(&statement.certificate).map_err(Refused::CardSignature)?;
    if own != *key {
        return Err(Refused::OtherKey);
    }
    if matches!(key, CoseKey::Rsa { .. }) && WEAK_RSA.contains(&card.firmware) {
        return Err(Refused::Weak(card.firmware));
    }
    // Whoever the attestation key is of, it must have signed.
    if let Some(issuer) = statement.chain.first() {
        below(&statement.certificate, issuer, vouchers.now).map_err(Refused::CardSignature)?;
    }
    Ok(Attested {
        key: own,
        bound: bind(statement, vouchers),
        said: Said::Piv(card),
    })
}

/// What the certificate says. One without firmware and policies was made by no card for a key in a
/// slot, though it may lead to the same root: manufacturers sign more than that.
fn card(certificate: &[u8]) -> Result<Card, Refused> {
    let read = CardCertificate::parse(certificate).map_err(|error| Refused::Certificate {
        what: "the certificate of the key",
        error,
    })?;
    let firmware = read.firmware.ok_or(Refused::NotOfCard("its firmware"))?;
    let policies = read
        .policies
        .ok_or(Refused::NotOfCard("when it wants PIN and touch"))?;
    let [pin_policy, touch_policy] = policies;
    Ok(Card {
        firmware,
        serial: read.serial,
        pin_policy,
        touch_policy,
        form_factor: read.form_factor,
    })
}

fn bind(statement: &PivStatement, vouchers: &Vouchers<'_>) -> Result<Bound, Unbound> {
    let roots = vouchers.piv_roots.ok_or(Unbound::NoCardRoots)?;
    let issuer = statement.chain.first().ok_or(Unbound::NoCardCertificate)?;
    let chain: Vec<&[u8]> = statement.chain.iter().map(|c| c.as_slice()).collect();
    let now = vouchers.now;
    let path = chain::check(&statement.certificate, &chain, roots, Usage::Card, now);
    match path {
        Err(_) if is_card_without_constraints(issuer) => {
            // That it has signed is known.
            chain::check(issuer, &[], roots, Usage::Card, now).map_err(Unbound::CardChain)?;
        }
        path => path.map_err(Unbound::CardChain)?,
    }
    Ok(Bound::Certificate)
}

/// Whether a certificate is of a card's attestation key, though it does not say that it may sign
/// others. Cards with firmware 4.3 and some with 5.2 have such ones, right below a root.
///
/// A key in a slot signs whatever it is told, so its certificate must never pass for one of these: it
/// has policies, and is not right below a root.
fn is_card_without_constraints(certificate: &[u8]) -> bool {
    CardCertificate::parse(certificate).is_ok_and(|read| {
        read.firmware.is_some() && read.policies.is_none() && !read.has_constraints
    })
}

/// That one certificate was signed by the key of another, which is taken for good here.
fn below(certificate: &[u8], issuer: &[u8], now: u64) -> Result<(), ChainError> {
    let roots = Roots::only(issuer)?;
    chain::check(certificate, &[], &roots, Usage::Card, now)
}
