//! What only PIV cards have: a PUK, a management key, certificates, and the way back to the factory.

use keyward_backend::VersionId;
use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{
    ChangePuk, Done, NewManagementKey, ResetToken, UnblockPin, WriteCertificate,
};
use keyward_protocol::{ErrorCode, Failure, KeyState, SecretBytes};
use uuid::Uuid;

use super::{Changing, intend, mark, registry_failed, unexpected};
use crate::audit::{Kind, Outcome as Became, Record};
use crate::certificate::public_key_of;
use crate::registry::Key;
use crate::request::answer::audit_unavailable;
use crate::request::usage::current;
use crate::request::{Entry, With};
use crate::worker::{Ask, Token};

impl With<'_> {
    pub(in crate::request) async fn change_puk(
        &self,
        op: ChangePuk,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let token = self.card(op.token.as_deref(), entry)?;
        check_secrets("PUK", &[&op.old, &op.new])?;
        if op.old == op.new {
            return Err(invalid("the new PUK is the old one"));
        }
        intend(self.agent, self.origin, "change-puk", entry).await?;
        let change = message::ChangePuk {
            old: op.old,
            new: op.new,
            last_try: op.spend_withheld_try,
        };
        token.manage_card(Work::ChangePuk(change)).await?;
        Ok(Done {})
    }

    pub(in crate::request) async fn unblock_pin(
        &self,
        op: UnblockPin,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let token = self.card(op.token.as_deref(), entry)?;
        check_secrets("PUK", &[&op.puk])?;
        check_secrets("PIN", &[&op.new])?;
        intend(self.agent, self.origin, "unblock-pin", entry).await?;
        let unblock = message::UnblockPin {
            puk: op.puk,
            new: op.new,
            last_try: op.spend_withheld_try,
        };
        token.manage_card(Work::UnblockPin(unblock)).await?;
        Ok(Done {})
    }

    pub(in crate::request) async fn new_management_key(
        &self,
        op: &NewManagementKey,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let token = self.card(op.token.as_deref(), entry)?;
        token.refuse_unless_ready()?;
        intend(self.agent, self.origin, "new-management-key", entry).await?;
        token.manage_card(Work::NewManagementKey).await?;
        Ok(Done {})
    }

    /// The card is as from the factory then, and what the registry had on it is destroyed.
    pub(in crate::request) async fn reset_token(
        &self,
        op: &ResetToken,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let token = self.card(Some(&op.token), entry)?;
        let serial = token.report().map(|report| report.identity.serial);
        if serial.as_deref() != Some(op.serial.as_str()) {
            let words = format!(
                "the card of token {} has another serial number than {}: nothing was reset",
                token.name(),
                op.serial.escape_debug()
            );
            return Err(invalid(&words).hint("keyward status"));
        }
        let lost = self.keys_on(token);
        let _changing = lost
            .iter()
            .map(|(key, _)| Changing::begin(agent, *key))
            .collect::<Result<Vec<_>, _>>()?;
        // Each key gets a record of its own, and there must be room for them.
        let rooms = lost.iter().map(|_| agent.audit.reserve());
        let rooms: Result<Vec<_>, _> = rooms.collect();
        let rooms = rooms.map_err(|error| audit_unavailable(&error))?;
        entry.note(&format!("{} keys are on it", lost.len()));
        let intent = intend(agent, self.origin, "reset-token", entry).await?;
        token.manage_card(Work::Reset).await?;
        let caller = self.origin.caller.audit_json();
        for ((key, newest), room) in lost.into_iter().zip(rooms) {
            let destroyed = (agent.registry.borrow_mut()).destroy_on(key, &[token.name()], newest);
            destroyed.map_err(|error| registry_failed(&error))?;
            let mut record = Record::new(Kind::ManageOutcome, "destroy");
            record.outcome = Some(Became::Ok);
            record.caller = Some(&caller);
            record.key = Some(key);
            record.token = Some(token.name());
            record.registry = Some(mark(agent));
            let words = format!("lost in the reset of intent {}", intent.audit_id);
            record.detail = Some(&words);
            let written = agent.audit.append(room, &record);
            written.map_err(|error| audit_unavailable(&error))?;
        }
        entry.registry = Some(mark(agent));
        Ok(Done {})
    }

    /// Every card that has the key's current version keeps the certificate.
    pub(in crate::request) async fn write_certificate(
        &self,
        key: &Key,
        op: WriteCertificate,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let version = current(key)?;
        entry.version = Some(version.id);
        entry.length = Some(op.der.len());
        if !op.der.is_empty() {
            let public = public_key_of(&op.der).map_err(|why| invalid(&why.to_string()))?;
            if public != version.spki {
                let words = format!(
                    "the certificate is of another public key than version {} of the key",
                    version.number
                );
                return Err(invalid(&words).hint(format!("keyward key csr {}", key.id_text)));
            }
        }
        let places = version.placements.iter();
        let cards: Vec<_> = places
            .filter_map(|place| self.agent.tokens.get(&place.token))
            .filter(|token| token.kind() == "piv")
            .collect();
        if cards.is_empty() {
            return Err(no_card(&format!("the key {}", key.id_text)));
        }
        for card in &cards {
            card.refuse_unless_ready()?;
        }
        let names: Vec<_> = cards.iter().map(|card| card.name()).collect();
        entry.token = Some(names.join(", "));
        intend(self.agent, self.origin, "write-certificate", entry).await?;
        for card in cards {
            let write = message::WriteCertificate {
                id: version.id,
                certificate: op.der.clone(),
            };
            let work = std::rc::Rc::new(Work::WriteCertificate(write));
            let ask = Ask::of(work, version, card);
            match card.call(self.authorised, ask, self.deadline).await? {
                Outcome::Done => {}
                _ => return Err(unexpected(card)),
            }
        }
        Ok(Done {})
    }

    /// The token, if it is a card that is there.
    fn card(&self, name: Option<&str>, entry: &mut Entry) -> Result<&Token, Failure> {
        let token = self.agent.token(name)?;
        entry.token = Some(token.name().to_owned());
        if token.kind() != "piv" {
            return Err(no_card(&format!("token {}", token.name())));
        }
        token.refuse_unless_found()?;
        Ok(token)
    }

    /// The keys that have something on a token, and their newest versions.
    fn keys_on(&self, token: &Token) -> Vec<(Uuid, u32)> {
        let registry = self.agent.registry.borrow();
        let all = registry.page(None, usize::MAX);
        let live = all.iter().filter(|key| key.state != KeyState::Destroyed);
        let on = |id: &VersionId, key: &Key| {
            let mut versions = key.versions.iter().filter(|version| version.id == *id);
            versions.any(|v| v.placements.iter().any(|place| place.token == token.name()))
        };
        let has = |key: &Key| key.versions.iter().any(|version| on(&version.id, key));
        live.filter(|key| has(key))
            .map(|key| {
                (
                    key.id,
                    key.versions.last().map_or(0, |version| version.number),
                )
            })
            .collect()
    }
}

/// PIN and PUK of a card (SP 800-73-4 Part 2 §2.4.3): padded to 8 bytes by the worker.
fn check_secrets(what: &str, secrets: &[&SecretBytes]) -> Result<(), Failure> {
    let fits = |secret: &&SecretBytes| {
        (6..=8).contains(&secret.len()) && secret.expose().iter().all(|b| b.is_ascii_graphic())
    };
    match secrets.iter().all(fits) {
        true => Ok(()),
        false => Err(invalid(&format!(
            "the {what} of a card has 6 to 8 ASCII characters"
        ))),
    }
}

fn no_card(what: &str) -> Failure {
    let words = format!("{what} is on no PIV card, which alone has this");
    Failure::new(ErrorCode::MechanismInvalid, words)
}

fn invalid(words: &str) -> Failure {
    Failure::new(ErrorCode::Invalid, words)
}
