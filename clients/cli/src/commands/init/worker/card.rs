//! The cards behind pcscd, as `keyward-worker` tells of them, and setting one up.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use keyward_protocol::SecretBytes;
use serde::Deserialize;

use super::{PATIENCE, Worker};

/// How long a card may take to take a new PIN, PUK and management key.
const PATIENCE_TO_SET: Duration = Duration::from_secs(30);

/// What pcscd has.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct ProbedCards {
    pub(in crate::commands) service: Service,
    /// What pcscd said, where it does not serve.
    pub(in crate::commands) detail: Option<String>,
    pub(in crate::commands) readers: Vec<ProbedReader>,
}

/// Whether pcscd serves this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::commands) enum Service {
    Answers,
    Absent,
    Refused,
    Failed,
}

/// A reader.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::commands) struct ProbedReader {
    pub(in crate::commands) name: String,
    pub(in crate::commands) state: ReaderState,
    pub(in crate::commands) problem: Option<String>,
    pub(in crate::commands) card: Option<ProbedCard>,
}

/// What is in a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::commands) enum ReaderState {
    Empty,
    /// Another program has the card for itself.
    Held,
    /// pcscd does not let this user use the card.
    Refused,
    /// A card without a PIV application.
    Other,
    /// A card that could not be asked.
    Unread,
    Card,
}

/// A PIV card.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::commands) struct ProbedCard {
    pub(in crate::commands) serial: String,
    /// Of a YubiKey; other cards say none.
    pub(in crate::commands) firmware: Option<String>,
    pub(in crate::commands) pin: Reference,
    pub(in crate::commands) puk: Reference,
    pub(in crate::commands) management_key: ManagementKey,
}

/// A PIN or PUK. What the card does not say is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::commands) struct Reference {
    pub(in crate::commands) factory: Option<bool>,
    pub(in crate::commands) tries: Option<u8>,
}

/// A management key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::commands) struct ManagementKey {
    pub(in crate::commands) factory: Option<bool>,
    /// Whether it is kept behind the PIN.
    pub(in crate::commands) protected: bool,
}

/// What was replaced on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::commands) struct Replaced {
    pub(in crate::commands) pin: bool,
    pub(in crate::commands) puk: bool,
    pub(in crate::commands) management_key: bool,
}

/// What a card is set up with. What is not needed is missing.
#[derive(Debug, Default)]
pub(in crate::commands) struct CardSecrets {
    pub(in crate::commands) new_pin: Option<SecretBytes>,
    pub(in crate::commands) new_puk: Option<SecretBytes>,
    /// The one that is in force.
    pub(in crate::commands) pin: Option<SecretBytes>,
}

#[derive(Debug, Deserialize)]
struct Document<T> {
    piv: T,
}

#[derive(Debug, Deserialize)]
struct SetUp {
    replaced: Replaced,
}

impl Worker {
    /// Asks pcscd for its readers and cards.
    pub(in crate::commands) fn probe_cards(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<ProbedCards, String> {
        let command = self.card_command(&["probe", "piv"], environment);
        self.run::<Document<ProbedCards>>(command, None, PATIENCE)
            .map(|document| document.piv)
    }

    /// Replaces what a card has from the factory.
    pub(in crate::commands) fn init_card(
        &self,
        serial: &str,
        from_factory: bool,
        secrets: &CardSecrets,
        environment: &BTreeMap<String, String>,
    ) -> Result<Replaced, String> {
        let secrets = [&secrets.new_pin, &secrets.new_puk, &secrets.pin];
        let bytes = secrets.map(|secret| secret.as_ref().map_or(&[][..], SecretBytes::expose));
        let length = bytes
            .iter()
            .map(|bytes| bytes.len().saturating_add(1))
            .sum();
        let mut lines = zeroize::Zeroizing::new(Vec::with_capacity(length));
        for bytes in bytes {
            lines.extend_from_slice(bytes);
            lines.push(b'\n');
        }
        let mut command = self.card_command(&["init-token", "piv", serial], environment);
        if from_factory {
            command.arg("--from-factory");
        }
        self.run::<Document<SetUp>>(command, Some(&lines), PATIENCE_TO_SET)
            .map(|document| document.piv.replaced)
    }

    fn card_command(&self, words: &[&str], environment: &BTreeMap<String, String>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words);
        if self.best_effort {
            command.arg("--best-effort");
        }
        self.as_agent_starts_it(command, environment, self.owner)
    }
}
