//! Operations that change keys, tokens, or what the agent holds.
//!
//! What changes a token or the registry writes and fsyncs its intent first, with the id that the
//! agent chose, so that whatever a crash leaves behind can be told apart and finished
//! ([`super::reconcile`]).

use keyward_backend::message::{Generate, Outcome, Work};
use keyward_backend::{KeyReport, VersionId};
use keyward_protocol::operation::{
    AcceptToken, Create, Destroy, Done, KeyDescription, Lock, LoginState, Unlock,
};
use keyward_protocol::{ErrorCode, Failure, Format, KeyState, KeyType, Purpose, SecretBytes};
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::audit_unavailable;
use super::{Authorised, Entry, Origin, read};
use crate::agent::Agent;
use crate::audit::{Kind, OpenIntent, Record, RegistryMark};
use crate::registry::{self, Key, NewKey, RegistryError};
use crate::worker::{Login, Token};

pub(super) async fn create(
    agent: &Agent,
    origin: &Origin,
    authorised: &Authorised,
    deadline: Instant,
    op: Create,
    entry: &mut Entry,
) -> Result<KeyDescription, Failure> {
    let token = agent.token(op.token.as_deref())?;
    let formats = check(agent, token, &op)?;
    let key = Uuid::new_v4();
    let version = VersionId::random();
    entry.key = Some(key);
    entry.version = Some(version);
    entry.alias.clone_from(&op.alias);
    entry.token = Some(token.name().to_owned());
    entry.detail = Some(format!("{} {}", op.purpose, op.key_type));
    let intent = intend(agent, origin, "create", entry).await?;

    let generate = Work::Generate(Generate {
        id: version,
        label: label(key, op.purpose, &formats),
        key_type: op.key_type,
        purpose: op.purpose,
    });
    let made = token.call(authorised, generate, deadline).await;
    let report = match made {
        Ok(Outcome::Key(Some(report))) => report,
        Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
        Err(failure) if is_unknown(&failure) => {
            return Err(leave_open(agent, intent, entry, failure));
        }
        Err(failure) => return Err(failure),
    };
    let stored = store(agent, token, key, version, op, formats, report);
    match stored {
        Ok(key) => {
            entry.registry = Some(mark(agent));
            Ok(read::describe(&key))
        }
        Err(failure) => {
            // The registry does not have it, so the token must not keep it.
            match token
                .call(authorised, Work::Destroy(version), deadline)
                .await
            {
                Ok(_) => Err(failure),
                Err(_) => Err(leave_open(agent, intent, entry, failure)),
            }
        }
    }
}

/// Refuses what can't become a key, before anything is written.
fn check(agent: &Agent, token: &Token, op: &Create) -> Result<Vec<Format>, Failure> {
    let invalid = |text: String| Failure::new(ErrorCode::Invalid, text);
    if op.purpose.algorithms(op.key_type).is_empty() {
        let fitting: Vec<_> = KeyType::ALL
            .into_iter()
            .filter(|key_type| !op.purpose.algorithms(*key_type).is_empty())
            .map(KeyType::name)
            .collect();
        return Err(invalid(format!(
            "a key of type {} can't {}; one of type {} can",
            op.key_type,
            op.purpose,
            fitting.join(", ")
        )));
    }
    let formats = match (&op.formats, op.purpose) {
        (Some(formats), _) => formats.clone(),
        (None, Purpose::Sign) => vec![Format::Raw],
        (None, _) => Vec::new(),
    };
    registry::check_formats(op.purpose, &formats).map_err(|error| invalid(error.to_string()))?;
    if op.key_type == KeyType::Ed25519 && formats.contains(&Format::Digest) {
        return Err(invalid("Ed25519 signs messages, not digests".into()));
    }
    if let Some(alias) = &op.alias {
        registry::check_alias(alias).map_err(|error| invalid(error.to_string()))?;
        if agent.registry.borrow().key(alias).is_some() {
            return Err(alias_taken(alias));
        }
    }
    if let Some(tags) = &op.tags {
        registry::check_tags(tags).map_err(|error| invalid(error.to_string()))?;
    }
    if let Some(report) = token.report()
        && token.is_ready()
        && !report.key_types.contains(&op.key_type)
    {
        let names: Vec<_> = report.key_types.iter().map(|t| t.name()).collect();
        return Err(Failure::new(
            ErrorCode::MechanismInvalid,
            format!(
                "token {} can't make a key of type {}; it can make {}",
                token.name(),
                op.key_type,
                names.join(", ")
            ),
        ));
    }
    token.refuse_unless_ready()?;
    Ok(formats)
}

fn store(
    agent: &Agent,
    token: &Token,
    id: Uuid,
    version: VersionId,
    op: Create,
    formats: Vec<Format>,
    report: KeyReport,
) -> Result<std::rc::Rc<Key>, Failure> {
    if report.key_type != Some(op.key_type) {
        return Err(unexpected(token));
    }
    let alias = op.alias.clone();
    let new = NewKey {
        id,
        purpose: op.purpose,
        state: KeyState::Active,
        formats,
        aliases: op.alias.into_iter().collect(),
        tags: op.tags.unwrap_or_default(),
        version,
        key_type: op.key_type,
        public: report.public,
        placements: vec![registry::Placement {
            token: token.name().to_owned(),
            locator: report.locator,
            local: report.local,
            always_sensitive: report.always_sensitive,
            never_extractable: report.never_extractable,
        }],
    };
    agent
        .registry
        .borrow_mut()
        .insert(new)
        .map_err(|error| match (error, alias) {
            (RegistryError::AliasTaken(_), Some(alias)) => alias_taken(&alias),
            (error, _) => registry_failed(&error),
        })
}

pub(super) async fn destroy(
    agent: &Agent,
    origin: &Origin,
    authorised: &Authorised,
    deadline: Instant,
    key: &Key,
    op: &Destroy,
    entry: &mut Entry,
) -> Result<Done, Failure> {
    if !op.now {
        return Err(Failure::new(
            ErrorCode::Unsupported,
            "this agent does not schedule destructions; it destroys at once or not at all",
        )
        .hint(format!("keyward key destroy {} --now", op.key)));
    }
    if key.state == KeyState::Destroyed {
        return Err(Failure::new(
            ErrorCode::WrongState,
            "the key is destroyed already",
        ));
    }
    let objects: Vec<_> = key
        .versions
        .iter()
        .flat_map(|version| version.placements.iter().map(|p| (version.id, &p.token)))
        .collect();
    for (_, token) in &objects {
        agent.token(Some(token))?.refuse_unless_ready()?;
    }
    entry.version = key.current().map(|version| version.id);
    entry.token = objects.last().map(|(_, token)| (*token).clone());
    let intent = intend(agent, origin, "destroy", entry).await?;
    for (nth, (version, token)) in objects.into_iter().enumerate() {
        let token = agent.token(Some(token))?;
        let done = token
            .call(authorised, Work::Destroy(version), deadline)
            .await;
        match done {
            Ok(Outcome::Done) => {}
            Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
            // Nothing was destroyed, and the caller is told so: nothing may be later.
            Err(failure) if nth == 0 && !is_unknown(&failure) => return Err(failure),
            Err(failure) => return Err(leave_open(agent, intent, entry, failure)),
        }
    }
    let destroyed = agent.registry.borrow_mut().destroy(key.id);
    if let Err(error) = destroyed {
        return Err(leave_open(agent, intent, entry, registry_failed(&error)));
    }
    entry.registry = Some(mark(agent));
    Ok(Done {})
}

pub(super) async fn unlock(agent: &Agent, op: Unlock, entry: &mut Entry) -> Result<Done, Failure> {
    let token = agent.token(op.token.as_deref())?;
    entry.token = Some(token.name().to_owned());
    let login = match op.pin {
        Some(pin) => Login::Given(checked_pin(pin)?),
        None => Login::File,
    };
    token
        .unlock(login, op.spend_withheld_try, &agent.monitor)
        .await
        .map_err(crate::worker::LoginError::into_failure)?;
    // Finishes what an earlier crash left open.
    token.look_again();
    Ok(Done {})
}

/// A PIN that some token could have: PKCS#11 has it in UTF-8, and none takes an empty one.
fn checked_pin(pin: SecretBytes) -> Result<SecretBytes, Failure> {
    let fits = (1..=256).contains(&pin.len()) && std::str::from_utf8(pin.expose()).is_ok();
    fits.then_some(pin)
        .ok_or_else(|| Failure::new(ErrorCode::Invalid, "a PIN has 1 to 256 bytes of UTF-8"))
}

pub(super) async fn lock(agent: &Agent, op: &Lock, entry: &mut Entry) -> Result<Done, Failure> {
    entry.token.clone_from(&op.token);
    match &op.token {
        Some(name) => agent.token(Some(name))?.lock(&agent.monitor).await?,
        None => {
            // One that fails leaves none of the others open.
            let mut all = Ok(());
            for token in agent.tokens.values() {
                all = all.and(token.lock(&agent.monitor).await);
            }
            all?;
        }
    }
    Ok(Done {})
}

pub(super) async fn accept_token(
    agent: &Agent,
    origin: &Origin,
    op: &AcceptToken,
    entry: &mut Entry,
) -> Result<Done, Failure> {
    let token = agent.token(Some(&op.token))?;
    entry.token = Some(token.name().to_owned());
    if token.login_state().0 != LoginState::Changed {
        return Err(Failure::new(
            ErrorCode::WrongState,
            format!("no other token is in the place of {}", token.name()),
        )
        .hint("keyward status"));
    }
    intend(agent, origin, "accept-token", entry).await?;
    // The supervisor enrols what it finds then, under an intent of its own.
    agent.accepting.borrow_mut().insert(token.name().to_owned());
    token.look_again();
    Ok(Done {})
}

/// Writes an intent and puts it onto the disk.
async fn intend(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &mut Entry,
) -> Result<OpenIntent, Failure> {
    let unavailable = |error| audit_unavailable(&error);
    let reservation = agent.audit.reserve().map_err(unavailable)?;
    let caller = origin.caller.audit_json();
    let mut record = Record::new(Kind::ManageIntent, op);
    record.caller = Some(&caller);
    record.key = entry.key;
    record.version = entry.version;
    record.alias = entry.alias.as_deref();
    record.token = entry.token.as_deref();
    record.registry = Some(mark(agent));
    record.detail = entry.detail.as_deref();
    let seq = agent
        .audit
        .append(reservation, &record)
        .map_err(unavailable)?;
    agent.audit.sync().await.map_err(unavailable)?;
    entry.intent = Some(seq.index());
    Ok(OpenIntent {
        audit_id: seq.index(),
        op: op.into(),
        key: entry.key,
        version_id: entry.version.map(|id| id.uuid()),
        token: entry.token.clone(),
        alias: entry.alias.clone(),
        registry: record.registry,
    })
}

/// What became of the intent is not known: it stays open until the token can be asked.
fn leave_open(agent: &Agent, intent: OpenIntent, entry: &mut Entry, failure: Failure) -> Failure {
    entry.intent = None;
    entry.detail = Some(format!("intent {} stays open", intent.audit_id));
    agent.open_intents.borrow_mut().push(intent);
    failure
}

/// Whether the token may have done it all the same.
fn is_unknown(failure: &Failure) -> bool {
    matches!(
        failure.code,
        ErrorCode::TokenFailed | ErrorCode::DeadlineExceeded | ErrorCode::TokenAbsent
    )
}

/// CKA_LABEL: what a rescan needs to know what the object is.
fn label(key: Uuid, purpose: Purpose, formats: &[Format]) -> String {
    let formats: Vec<_> = formats.iter().map(|format| format.name()).collect();
    format!("keyward:{key}:1:{purpose}:{}", formats.join(","))
}

/// The registry as it is now.
pub(super) fn mark(agent: &Agent) -> RegistryMark {
    agent.registry.borrow().mark()
}

fn alias_taken(alias: &str) -> Failure {
    Failure::new(
        ErrorCode::Exists,
        format!("there is a key called {alias} already"),
    )
    .hint(format!("keyward key show {alias}"))
}

fn unexpected(token: &Token) -> Failure {
    Failure::new(
        ErrorCode::TokenFailed,
        format!(
            "token {} made a key that is not what was asked for",
            token.name()
        ),
    )
}

fn registry_failed(error: &RegistryError) -> Failure {
    tracing::error!(%error, "the registry can't be changed");
    Failure::new(
        ErrorCode::Internal,
        format!("the registry can't be changed: {error}"),
    )
    .hint("keyward status")
}
