//! What the log says about management: the last mark of the registry, and intents without outcome.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::record::{Kind, Record, RegistryMark, Stored};

/// An intent whose outcome was never written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIntent {
    /// The number of its record.
    pub audit_id: u64,
    /// The operation.
    pub op: String,
    /// The key that it was about.
    #[serde(with = "uuid_text")]
    pub key: Option<Uuid>,
    /// The id that the agent had chosen for the version: its CKA_ID.
    #[serde(with = "uuid_text")]
    pub version_id: Option<Uuid>,
    /// The name that the key was to get.
    pub alias: Option<String>,
    /// The token's name.
    pub token: Option<String>,
    /// The token had nothing of the version before.
    #[serde(default)]
    pub fresh: bool,
    /// To destroy: on how many tokens the key was.
    #[serde(default)]
    pub places: Option<usize>,
    /// What the token was pinned to.
    #[serde(default)]
    pub device: Option<String>,
    /// The registry before it.
    pub registry: Option<RegistryMark>,
}

/// The state of management after some records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) mark: Option<RegistryMark>,
    pub(super) intents: Vec<OpenIntent>,
}

/// What a record changes in the history.
#[derive(Debug)]
pub(super) struct Change {
    opens: Option<OpenIntent>,
    closes: Option<u64>,
    mark: Option<RegistryMark>,
}

impl Change {
    /// What a record that is being written changes; most change nothing.
    pub(super) fn of(seq: u64, record: &Record<'_>) -> Option<Self> {
        let intent = record.kind == Kind::ManageIntent;
        let opens = intent.then(|| OpenIntent {
            audit_id: seq,
            op: record.op.to_owned(),
            key: record.key,
            version_id: record.version.map(|id| id.uuid()),
            alias: record.alias.map(str::to_owned),
            token: record.token.map(str::to_owned),
            fresh: record.fresh,
            places: record.places,
            device: record.device.map(str::to_owned),
            registry: record.registry,
        });
        Self::some(opens, record.kind, record.intent, record.registry)
    }

    /// What a record that was read changes.
    pub(super) fn of_stored(stored: Stored<'_>) -> Option<Self> {
        let intent = stored.kind == Kind::ManageIntent;
        let uuid = |text: Option<String>| text.and_then(|text| Uuid::parse_str(&text).ok());
        let opens = intent.then(|| OpenIntent {
            audit_id: stored.seq,
            op: stored.op.into_owned(),
            key: uuid(stored.key),
            version_id: uuid(stored.version),
            alias: stored.alias,
            token: stored.token,
            fresh: stored.fresh,
            places: stored.places,
            device: stored.device,
            registry: stored.registry,
        });
        Self::some(opens, stored.kind, stored.intent, stored.registry)
    }

    fn some(
        opens: Option<OpenIntent>,
        kind: Kind,
        intent: Option<u64>,
        mark: Option<RegistryMark>,
    ) -> Option<Self> {
        let closes = intent.filter(|_| kind == Kind::ManageOutcome);
        let any = opens.is_some() || closes.is_some() || mark.is_some();
        any.then_some(Self {
            opens,
            closes,
            mark,
        })
    }
}

impl History {
    pub(super) fn apply(&mut self, change: Change) {
        if let Some(closed) = change.closes {
            self.intents.retain(|intent| intent.audit_id != closed);
        }
        self.intents.extend(change.opens);
        self.mark = change.mark.or(self.mark);
    }
}

mod uuid_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(
        uuid: &Option<Uuid>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        uuid.map(|uuid| uuid.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Uuid>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| Uuid::parse_str(&text).map_err(de::Error::custom))
            .transpose()
    }
}
