//! `import`: a key from outside, put into one token or several.

use std::rc::Rc;

use keyward_backend::VersionId;
use keyward_backend::message::{self, Generate, Outcome, Work};
use keyward_protocol::operation::{BindPcrs, Import, KeyDescription, KeyMaterial};
use keyward_protocol::piv::PivChoice;
use keyward_protocol::{ErrorCode, Failure, Format, KeyState, Purpose, SecretBytes};
use tokio::time::Instant;
use uuid::Uuid;

use super::bind::Wish;
use super::create::{Wanted, is_bound_to};
use super::intents::{Ended, conclude, intend_each};
use super::label::Label;
use super::material::{self, Kind};
use super::prove::{Claim, Known};
use super::{Changing, is_unknown, mark, placement, registry_refused, undo_deadline, unexpected};
use crate::agent::Agent;
use crate::audit::{OpenIntent, Outcome as Ending};
use crate::registry::{Key, NewKey, Placement, Version};
use crate::request::usage::{current, misbehaved};
use crate::request::{Entry, With, read};
use crate::worker::Token;

/// What the tokens get.
struct Plan {
    key: Uuid,
    version: VersionId,
    number: u32,
    purpose: Purpose,
    formats: Vec<Format>,
    piv: Option<PivChoice>,
}

impl With<'_> {
    pub(in crate::request) async fn import(
        &self,
        existing: Option<Rc<Key>>,
        op: Import,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let tokens = self.tokens(op.tokens.as_deref())?;
        if op.piv.is_some() && !tokens.iter().any(|token| token.kind() == "piv") {
            let words =
                "none of the tokens is a PIV card, which alone has slots, PIN and touch policies";
            return Err(Failure::new(ErrorCode::Invalid, words));
        }
        let kind = material::inspect(&op.material)?;
        let id = existing.as_ref().map_or_else(Uuid::new_v4, |key| key.id);
        let _changing = Changing::begin(self.agent, id)?;
        if let Some(key) = &existing {
            refuse_what_is_undone(self.agent, key, &tokens)?;
        }
        let wish = match &op.bind {
            Some(bind) => Some(self.wish_of(bind, &op.material, existing.as_deref(), &tokens)?),
            None => None,
        };
        let plan = match &existing {
            Some(key) => self.further(key, &op, &kind, &tokens, entry).await?,
            None => self.first(id, &op, &kind)?,
        };
        for token in &tokens {
            token.refuse_unless_ready()?;
        }
        // The id of a new key is a random one; what a token has of another is somebody else's.
        if existing.is_some() {
            for token in &tokens {
                self.refuse_what_is_there(token, plan.version).await?;
            }
        }
        entry.fresh = true;
        entry.key = Some(plan.key);
        entry.version = Some(plan.version);
        entry.alias.clone_from(&op.alias);
        entry.length = Some(op.material.length());
        entry.detail = Some(format!("{} {}", plan.purpose, kind.key_type));
        if let Some(wish) = &wish {
            entry.note(&wish.words());
        }
        let (agent, origin) = (self.agent, self.origin);
        let intents = intend_each(agent, origin, "import", entry, &tokens).await?;

        let mut placed = Vec::new();
        let mut tried = Vec::new();
        let mut result = Ok(());
        for token in &tokens {
            let wish = wish.as_ref().filter(|_| token.kind() == "tpm");
            let put = self.put(token, &plan, &kind, &op.material, wish).await;
            match put {
                Ok(place) => {
                    tried.push((*token, true));
                    placed.push(place);
                }
                Err((failure, made)) => {
                    tried.push((*token, made));
                    result = Err(failure);
                    break;
                }
            }
        }
        let result = match result {
            Ok(()) => self.enter(existing, op, plan.formats, &kind, entry, placed),
            Err(failure) => Err(failure),
        };
        let ending = match &result {
            Ok(_) => Ending::Ok,
            Err(failure) => Ending::Failed(failure.code),
        };
        let ended = match &result {
            Ok(_) => {
                entry.registry = Some(mark(agent));
                let done = |intent| Ended {
                    intent,
                    outcome: Some(Ending::Ok),
                };
                intents.into_iter().map(done).collect()
            }
            Err(_) => self.undo(intents, &tried, plan.version, ending).await,
        };
        conclude(agent, origin, "import", entry, ended, ending);
        result.map(|key| read::describe(agent, &key))
    }

    /// What it is to be bound to, where a token can bind it.
    fn wish_of(
        &self,
        bind: &BindPcrs,
        material: &KeyMaterial,
        existing: Option<&Key>,
        tokens: &[&Token],
    ) -> Result<Wish, Failure> {
        if let KeyMaterial::Tss2(_) = material {
            return Err(Failure::new(
                ErrorCode::MechanismInvalid,
                "a key that is in a TPM's file already can't be bound to PCRs any more",
            ));
        }
        let version = match existing {
            Some(key) => Some(current(key)?),
            None => None,
        };
        self.wish_of_import(tokens, version, bind)
    }

    /// The tokens of those names, each once; the only one if none is named.
    fn tokens(&self, names: Option<&[String]>) -> Result<Vec<&Token>, Failure> {
        let Some(names) = names else {
            return Ok(vec![self.agent.token(None)?.as_ref()]);
        };
        let mut tokens: Vec<&Token> = Vec::new();
        for name in names {
            let token = self.agent.token(Some(name))?.as_ref();
            if tokens.iter().any(|other| other.name() == token.name()) {
                return Err(Failure::new(
                    ErrorCode::Invalid,
                    format!("token {name} is named twice"),
                ));
            }
            if let Some(other) = tokens.iter().find(|other| self.is_one(token, other.name())) {
                return Err(one_token(token, other.name()));
            }
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Err(Failure::new(ErrorCode::Invalid, "no token is named"));
        }
        Ok(tokens)
    }

    /// Whether a token is pinned to the device that another name is pinned to.
    fn is_one(&self, token: &Token, other: &str) -> bool {
        let registry = self.agent.registry.borrow();
        let identity = registry.token_identity(token.name());
        identity.is_some() && identity == registry.token_identity(other)
    }

    /// A new key.
    fn first(&self, key: Uuid, op: &Import, kind: &Kind) -> Result<Plan, Failure> {
        let wanted = Wanted {
            purpose: op.purpose,
            key_type: kind.key_type,
            alias: op.alias.as_deref(),
            formats: op.formats.as_deref(),
            tags: op.tags.as_ref(),
        };
        Ok(Plan {
            formats: wanted.check(self.agent)?,
            key,
            version: VersionId::random(),
            number: 1,
            purpose: op.purpose,
            piv: op.piv,
        })
    }

    /// Further places of a key that is there: only if it is the same key.
    async fn further(
        &self,
        key: &Key,
        op: &Import,
        kind: &Kind,
        tokens: &[&Token],
        entry: &mut Entry,
    ) -> Result<Plan, Failure> {
        let invalid = |words: &str| Failure::new(ErrorCode::Invalid, words.to_owned());
        if matches!(key.state, KeyState::Destroyed | KeyState::Compromised) {
            let words = format!("the key is {}", key.state);
            return Err(Failure::new(ErrorCode::WrongState, words));
        }
        if op.alias.is_some() || op.formats.is_some() || op.tags.is_some() {
            return Err(invalid(
                "a key that is there already keeps its alias, formats and tags",
            ));
        }
        if op.purpose != key.purpose {
            let words = format!("the key's purpose is {}, not {}", key.purpose, op.purpose);
            return Err(Failure::new(ErrorCode::WrongPurpose, words));
        }
        let version = current(key)?;
        if let Some(token) = tokens
            .iter()
            .find(|token| version.placements.iter().any(|p| p.token == token.name()))
        {
            let words = format!("token {} has the key already", token.name());
            return Err(Failure::new(ErrorCode::Exists, words));
        }
        for token in tokens {
            let mut places = version.placements.iter();
            if let Some(place) = places.find(|place| self.is_one(token, &place.token)) {
                return Err(one_token(token, &place.token));
            }
        }
        let same = kind.key_type == key.key_type
            && match &op.material {
                KeyMaterial::Pkcs8(_) | KeyMaterial::Tss2(_) => kind.public == version.public,
                KeyMaterial::Secret(_, bytes) => self.has(key, version, bytes, entry).await?,
            };
        if !same {
            return Err(invalid(&format!(
                "this is not the key that {} is; import it without naming one, as a new key",
                key.id_text
            )));
        }
        Ok(Plan {
            key: key.id,
            version: version.id,
            number: version.number,
            purpose: key.purpose,
            formats: key.formats.clone(),
            piv: op.piv,
        })
    }

    /// Whether a secret key is the one that a token has as this version.
    async fn has(
        &self,
        key: &Key,
        version: &Version,
        secret: &SecretBytes,
        entry: &mut Entry,
    ) -> Result<bool, Failure> {
        let token = self.place(version, entry)?;
        let claim = Claim {
            id: version.id,
            purpose: key.purpose,
            key_type: key.key_type,
            known: Known::Secret(secret),
            place: None,
        };
        self.prove(token, claim).await
    }

    /// Refuses to import where the token has an object of that id, which nobody has placed there for
    /// this key: whatever undoes the import would destroy it.
    async fn refuse_what_is_there(&self, token: &Token, version: VersionId) -> Result<(), Failure> {
        let inspect = Work::Inspect(version);
        match token.call(self.authorised, inspect, self.deadline).await {
            Ok(Outcome::Key(None)) => Ok(()),
            Ok(Outcome::Key(Some(_))) => Err(Failure::new(
                ErrorCode::Exists,
                format!(
                    "token {} has an object with the id {version} already, and the registry does not have it there",
                    token.name()
                ),
            )
            .hint(format!("keyward token rescan {}", token.name()))),
            Ok(_) => Err(misbehaved(token)),
            Err(failure) => Err(failure),
        }
    }

    /// Puts the key into one token and proves that it is there; a failure comes with whether there
    /// is something to destroy.
    async fn put(
        &self,
        token: &Token,
        plan: &Plan,
        kind: &Kind,
        material: &KeyMaterial,
        wish: Option<&Wish>,
    ) -> Result<Placement, (Failure, bool)> {
        let label = Label {
            key: plan.key,
            number: plan.number,
            purpose: plan.purpose,
            formats: plan.formats.clone(),
        };
        let generate = Generate {
            id: plan.version,
            label: label.to_string(),
            key_type: kind.key_type,
            purpose: plan.purpose,
            piv: plan.piv.filter(|_| token.kind() == "piv"),
        };
        let work = match wish {
            Some(wish) => self
                .make_bound(token, wish, generate, Some(copy(material)))
                .await
                .map_err(|failure| (failure, false))?,
            None => Work::Import(message::Import {
                generate,
                material: copy(material),
            }),
        };
        let report = match token.attempt(self.authorised, work, self.deadline).await {
            Ok(Outcome::Key(Some(report))) => report,
            Ok(_) => return Err((unexpected(token), true)),
            Err(error) => {
                let made = is_unknown(&error);
                return Err((error.failure, made));
            }
        };
        let right = report.key_type == Some(kind.key_type) && report.public == kind.public;
        if !right || !is_bound_to(wish, &report) {
            return Err((unexpected(token), true));
        }
        let known = match (&kind.public, material) {
            (Some(public), _) => Known::Public(public),
            (
                None,
                KeyMaterial::Secret(_, bytes)
                | KeyMaterial::Pkcs8(bytes)
                | KeyMaterial::Tss2(bytes),
            ) => Known::Secret(bytes),
        };
        let claim = Claim {
            id: plan.version,
            purpose: plan.purpose,
            key_type: kind.key_type,
            known,
            place: None,
        };
        match self.prove(token, claim).await {
            Ok(true) => Ok(placement(token, report)),
            Ok(false) => Err((unexpected(token), true)),
            Err(failure) => Err((failure, true)),
        }
    }

    /// Enters the key, or its further places.
    fn enter(
        &self,
        existing: Option<Rc<Key>>,
        op: Import,
        formats: Vec<Format>,
        kind: &Kind,
        entry: &Entry,
        placements: Vec<Placement>,
    ) -> Result<Rc<Key>, Failure> {
        let (Some(id), Some(version)) = (entry.key, entry.version) else {
            return Err(Failure::new(ErrorCode::Internal, "no id was chosen"));
        };
        let mut registry = self.agent.registry.borrow_mut();
        let entered = match existing {
            Some(_) => registry.add_placements(id, version, &placements),
            None => registry.insert(NewKey {
                id,
                purpose: op.purpose,
                state: KeyState::Active,
                formats,
                aliases: op.alias.into_iter().collect(),
                tags: op.tags.unwrap_or_default(),
                version,
                key_type: kind.key_type,
                public: kind.public.clone(),
                placements,
            }),
        };
        entered.map_err(|error| registry_refused(&error))
    }

    /// Destroys what was made; what can't be destroyed now keeps its intent open.
    async fn undo(
        &self,
        intents: Vec<OpenIntent>,
        tried: &[(&Token, bool)],
        version: VersionId,
        ending: Ending,
    ) -> Vec<Ended> {
        let deadline: Instant = undo_deadline(self.deadline);
        let mut ended = Vec::new();
        for intent in intents {
            let made = tried
                .iter()
                .find(|(token, made)| *made && intent.token.as_deref() == Some(token.name()));
            let undone = match made {
                None => true,
                Some((token, _)) => {
                    let done = token.call(self.authorised, Work::Destroy(version), deadline);
                    matches!(done.await, Ok(Outcome::Done | Outcome::Overwritten))
                }
            };
            ended.push(Ended {
                intent,
                outcome: undone.then_some(ending),
            });
        }
        ended
    }
}

/// Refuses to import what an earlier change has left on a token, and what is destroyed as soon as it
/// can be asked.
fn refuse_what_is_undone(agent: &Agent, key: &Key, tokens: &[&Token]) -> Result<(), Failure> {
    let version = current(key)?.id.uuid();
    let open = agent.open_intents.borrow();
    for intent in open.iter().filter(|i| i.version_id == Some(version)) {
        let names = tokens.iter().map(|token| token.name());
        if let Some(name) = names
            .into_iter()
            .find(|name| intent.token.as_deref() == Some(name))
        {
            return Err(Failure::new(
                ErrorCode::Busy,
                format!(
                    "what intent {} has left of the key on token {name} is not undone yet; that ends by itself as soon as the token can be asked",
                    intent.audit_id
                ),
            )
            .hint("keyward status"));
        }
    }
    Ok(())
}

fn one_token(token: &Token, other: &str) -> Failure {
    let words = format!("{} and {other} are one and the same token", token.name());
    Failure::new(ErrorCode::Invalid, words).hint("keyward status  # shows each token's identity")
}

/// The same key once more, for another token.
fn copy(material: &KeyMaterial) -> KeyMaterial {
    match material {
        KeyMaterial::Pkcs8(bytes) => KeyMaterial::Pkcs8(SecretBytes::copy_from(bytes.expose())),
        KeyMaterial::Tss2(bytes) => KeyMaterial::Tss2(SecretBytes::copy_from(bytes.expose())),
        KeyMaterial::Secret(key_type, bytes) => {
            KeyMaterial::Secret(*key_type, SecretBytes::copy_from(bytes.expose()))
        }
    }
}
