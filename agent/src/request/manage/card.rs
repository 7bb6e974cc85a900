//! What only PIV cards have: a PUK, a management key, certificates, and the way back to the factory.

use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{
    ChangePuk, Done, NewManagementKey, ResetToken, UnblockPin, WriteCertificate,
};
use keyward_protocol::{ErrorCode, Failure, KeyState, SecretBytes};

use super::intents::write;
use super::{Changing, intend, keep_open, mark, registry_failed, unexpected};
use crate::audit::{OpenIntent, Outcome as Became};
use crate::certificate::public_key_of;
use crate::registry::Key;
use crate::request::usage::current;
use crate::request::{Entry, With};
use crate::worker::{Ask, Token};

/// What the log calls it, as a whole and for each key.
const RESET: &str = "reset-token";

impl With<'_> {
    pub(in crate::request) async fn change_puk(
        &self,
        op: ChangePuk,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let token = self.card(op.token.as_deref(), entry)?;
        check_new("PUK", &op.new)?;
        if op.old == op.new {
            return Err(invalid("the new PUK is the old one"));
        }
        intend(self.agent, self.origin, "change-puk", entry).await?;
        let change = message::ChangePuk {
            old: op.old,
            new: op.new,
            last_try: op.spend_withheld_try,
        };
        self.manage(token, Work::ChangePuk(change)).await?;
        Ok(Done {})
    }

    pub(in crate::request) async fn unblock_pin(
        &self,
        op: UnblockPin,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let token = self.card(op.token.as_deref(), entry)?;
        check_new("PIN", &op.new)?;
        intend(self.agent, self.origin, "unblock-pin", entry).await?;
        let unblock = message::UnblockPin {
            puk: op.puk,
            new: op.new,
            last_try: op.spend_withheld_try,
        };
        self.manage(token, Work::UnblockPin(unblock)).await?;
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
        self.manage(token, Work::NewManagementKey).await?;
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
            .map(|(key, _)| Changing::begin(agent, key.id))
            .collect::<Result<Vec<_>, _>>()?;
        let mut ending = self.intend_losses(token, &lost).await?;
        entry.note(&format!("{} keys are on it", lost.len()));
        if let Err(failure) = intend(agent, self.origin, RESET, entry).await {
            for (own, intent) in ending {
                self.end_loss(&own, intent, Became::Failed(failure.code));
            }
            return Err(failure);
        }
        if let Err(failure) = self.manage(token, Work::Reset).await {
            // What may be gone, the agent looks for when the card can be asked.
            // A card that is absent or held was so before anything was sent.
            let unknown = failure.code == ErrorCode::TokenFailed;
            for (own, intent) in ending {
                match unknown {
                    true => keep_open(agent, intent),
                    false => self.end_loss(&own, intent, Became::Failed(failure.code)),
                }
            }
            return Err(failure);
        }
        // What was entered meanwhile was made before: behind the reset nothing is, without a login.
        let newer = self.keys_on(token);
        let newer = newer
            .into_iter()
            .filter(|(key, _)| !lost.iter().any(|(other, _)| other.id == key.id));
        let newer: Vec<_> = newer.collect();
        let mut failed = None;
        match self.intend_losses(token, &newer).await {
            Ok(more) => ending.extend(more),
            Err(failure) => failed = Some(failure),
        }
        for ((key, newest), (own, intent)) in lost.iter().chain(&newer).zip(ending) {
            let destroyed =
                (agent.registry.borrow_mut()).destroy_on(key.id, &[token.name()], *newest);
            match destroyed {
                Ok(_) => self.end_loss(&own, intent, Became::Ok),
                // The card has it no more: that is entered as soon as it can be.
                Err(error) => {
                    failed.get_or_insert_with(|| registry_failed(&error));
                    keep_open(agent, intent);
                }
            }
        }
        entry.registry = Some(mark(agent));
        failed.map_or(Ok(Done {}), Err)
    }

    /// An intent for each key that a reset takes from the card, so that each loss can be entered also
    /// where the agent ends in the middle. None destroys anything of the key elsewhere.
    async fn intend_losses(
        &self,
        token: &Token,
        lost: &[(Rc<Key>, u32)],
    ) -> Result<Vec<(Entry, OpenIntent)>, Failure> {
        let mut intents = Vec::new();
        for (key, newest) in lost {
            let version = key
                .versions
                .iter()
                .find(|version| version.number == *newest);
            let mut own = Entry {
                key: Some(key.id),
                version: version.map(|version| version.id),
                token: Some(token.name().to_owned()),
                ..Entry::default()
            };
            match intend(self.agent, self.origin, RESET, &mut own).await {
                Ok(intent) => intents.push((own, intent)),
                Err(failure) => {
                    for (own, intent) in intents {
                        self.end_loss(&own, intent, Became::Failed(failure.code));
                    }
                    return Err(failure);
                }
            }
        }
        Ok(intents)
    }

    /// Writes what became of one of them; what can't be written stays open.
    fn end_loss(&self, own: &Entry, intent: OpenIntent, became: Became) {
        let room = self.agent.audit.reserve();
        let written = room
            .is_ok_and(|room| write(self.agent, self.origin, RESET, own, &intent, became, room));
        if !written {
            keep_open(self.agent, intent);
        }
    }

    async fn manage(&self, token: &Token, work: Work) -> Result<(), Failure> {
        token.manage_card(work, &self.agent.monitor).await
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
        let mut done: Vec<&str> = Vec::new();
        for card in cards {
            let write = message::WriteCertificate {
                id: version.id,
                certificate: op.der.clone(),
            };
            let work = Rc::new(Work::WriteCertificate(write));
            let ask = Ask::of(work, version, card);
            let answer = card.call(self.authorised, ask, self.deadline).await;
            let failed = match answer {
                Ok(Outcome::Done) => {
                    done.push(card.name());
                    continue;
                }
                Ok(_) => unexpected(card),
                Err(failure) => failure,
            };
            return Err(written_on(failed, &done, entry));
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
    fn keys_on(&self, token: &Token) -> Vec<(Rc<Key>, u32)> {
        let mut keys: Vec<(Rc<Key>, u32)> = Vec::new();
        for (key, _) in self.agent.registry.borrow().on_token(token.name()) {
            let newest = key.versions.last().map_or(0, |version| version.number);
            if key.state != KeyState::Destroyed && keys.iter().all(|(other, _)| other.id != key.id)
            {
                keys.push((key, newest));
            }
        }
        keys
    }
}

/// A new PIN or PUK of a card (SP 800-73-4 Part 2 §2.4.3): padded to 8 bytes by the worker. What it has
/// already, another program may have chosen otherwise.
fn check_new(what: &str, secret: &SecretBytes) -> Result<(), Failure> {
    let typed = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    match (6..=8).contains(&secret.len()) && secret.expose().iter().all(typed) {
        true => Ok(()),
        false => Err(invalid(&format!(
            "the {what} of a card has 6 to 8 ASCII characters"
        ))),
    }
}

/// Says which cards have the certificate already.
fn written_on(mut failure: Failure, done: &[&str], entry: &mut Entry) -> Failure {
    if !done.is_empty() {
        let words = format!("written on {}", done.join(", "));
        failure
            .message
            .push_str(&format!("; it is {words} already"));
        entry.note(&words);
    }
    failure
}

fn no_card(what: &str) -> Failure {
    let words = format!("{what} is on no PIV card, which alone has this");
    Failure::new(ErrorCode::MechanismInvalid, words)
}

fn invalid(words: &str) -> Failure {
    Failure::new(ErrorCode::Invalid, words)
}
