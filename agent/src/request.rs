//! The pipeline that every request goes through, whatever door it came in by: read this first.
//!
//! bytes → [`Request`] → [`Caller`] → key and version from the registry → [`Policy::decide`]
//! (pure) → [`Authorised`] → worker → output checked → **record written** → reply. A front end
//! only translates: it gets an [`Answer`], whose bytes come out of it only when its record is in
//! the log's file.

mod absorb;
mod answer;
mod destruction;
mod dispatch;
mod give_back;
mod manage;
mod origin;
mod read;
mod reconcile;
mod usage;

use std::rc::Rc;
use std::time::Duration;

use keyward_backend::VersionId;
use keyward_protocol::operation::{OperationClass, OperationCode, SignInput};
use keyward_protocol::{Algorithm, ErrorCode, Failure, Request};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::audit::{
    Admission, AuditError, Kind, OpenIntent, Outcome, Record, RegistryMark, Reservation, Seq,
    Suppressed,
};
use crate::caller::{Caller, CallerError};
use crate::events::About;
use crate::policy::{Action, Decision, Facts, Policy};
use crate::worker::QueueKey;
use crate::worker::failure::unwrap_failed;

pub use self::answer::Answer;
use self::dispatch::KeyName;
pub use self::manage::backup::Copies;
pub use self::origin::Origin;
pub(crate) use self::reconcile::Enroller;

/// How old what is known about a caller's program may be for a use.
const PROGRAM_AGE: Duration = Duration::from_secs(1);

/// The proof that a request was decided on: no token does anything without one.
pub struct Authorised {
    queue_key: QueueKey,
    /// What a person is told while it waits for them; only where a token may do so.
    about: Option<Rc<About>>,
}

impl Authorised {
    /// Where the request stands in a token's queue.
    pub(crate) fn queue_key(&self) -> QueueKey {
        self.queue_key
    }

    /// What a person is told while it waits for them.
    pub(crate) fn about(&self) -> Option<Rc<About>> {
        self.about.clone()
    }
}

/// How long a request may take, and what it may wait for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// Whether it waits until then for a token that is not there or is locked.
    pub for_token: bool,
}

/// What everything that is done for a request needs.
#[derive(Clone, Copy)]
struct With<'a> {
    agent: &'a Agent,
    origin: &'a Origin,
    authorised: &'a Authorised,
    deadline: Instant,
    /// A token that is not there, or is locked, is waited for.
    waits: bool,
}

/// What the record will say beside who asked for what.
#[derive(Default)]
struct Entry {
    key: Option<Uuid>,
    version: Option<VersionId>,
    alias: Option<String>,
    token: Option<String>,
    algorithm: Option<Algorithm>,
    digest: Option<[u8; 32]>,
    length: Option<usize>,
    /// Nothing of the version was on the token before.
    fresh: bool,
    /// On how many tokens a key is that is to be destroyed.
    places: Option<usize>,
    intent: Option<u64>,
    /// The intents whose outcomes are written with the record, or were just before it.
    ended: Vec<OpenIntent>,
    registry: Option<RegistryMark>,
    detail: Option<String>,
    denied: bool,
    /// A further part of what the log has already.
    goes_on: bool,
}

impl Entry {
    /// Adds words to the record.
    fn note(&mut self, words: &str) {
        let detail = self.detail.get_or_insert_default();
        if !detail.is_empty() {
            detail.push_str(", ");
        }
        detail.push_str(words);
    }
}

/// Serves one request, from the decision to the record.
///
/// When `cancelled` ends first, nobody waits for the answer any more: what is queued leaves its
/// queue, and the record says so. Management is never cancelled in the middle.
pub async fn serve(
    agent: &Agent,
    origin: &Origin,
    patience: Patience,
    request: Request,
    cancelled: impl Future<Output = ()>,
) -> Answer {
    let code = request.code();
    let action = action_of(&request);
    // Nobody who may not ask for it uses up what is held back for a full disk.
    let permitted = decide(&agent.policy, &origin.caller, action).is_some();
    let reservation = match reserve(agent, code, permitted) {
        Ok(reservation) => reservation,
        Err(error) => return answer::refused(&error),
    };
    let mut entry = Entry::default();
    let processed = process(agent, origin, patience, request, action, &mut entry);
    let result = match code.class() {
        OperationClass::Manage => processed.await,
        OperationClass::Use | OperationClass::Read => tokio::select! {
            biased;
            result = processed => result,
            () = cancelled => Err(Failure::new(ErrorCode::Cancelled, "the caller cancelled it")),
        },
    };
    record(agent, origin, action, reservation, &entry, result).await
}

/// Room for the record, before anything is done. What takes keys out of use, and asking how things
/// are, work on a full disk too.
fn reserve(agent: &Agent, code: OperationCode, permitted: bool) -> Result<Reservation, AuditError> {
    match code {
        OperationCode::Lock
        | OperationCode::Disable
        | OperationCode::MarkCompromised
        | OperationCode::Status
            if permitted =>
        {
            agent.audit.reserve_emergency()
        }
        _ => match agent.audit.reserve() {
            // The disk may have recovered since the write that failed.
            Err(AuditError::Failed(_)) => {
                agent.audit.reopen()?;
                agent.audit.reserve()
            }
            reserved => reserved,
        },
    }
}

/// Everything between the request and its record.
async fn process(
    agent: &Agent,
    origin: &Origin,
    patience: Patience,
    request: Request,
    action: Action,
    entry: &mut Entry,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let deadline = patience.deadline;
    let class = request.code().class();
    let permitted = decide(&agent.policy, &origin.caller, action);
    if permitted.is_some() {
        // Only for those who may at all: the monitor has better things to do than to look at others.
        identify(agent, origin, deadline, class, entry).await?;
    }
    let key = match dispatch::key_name(&request) {
        KeyName::None => None,
        // Whether there is such a key is not told: a ciphertext of none and one of another's key
        // do not open.
        KeyName::Sealed(ciphertext) => {
            if permitted.is_none() {
                entry.denied = true;
                entry.digest = Some(Sha256::digest(ciphertext).into());
                return Err(unwrap_failed());
            }
            let key = usage::key_of(agent, ciphertext);
            entry.key = key.as_ref().map(|key| key.id);
            key
        }
        // Whoever may not see a key is told what is told where there is none.
        KeyName::Named(name) if permitted.is_none() => {
            entry.denied = true;
            return Err(not_found(name));
        }
        KeyName::Named(name) => {
            let key = agent.registry.borrow().key(name);
            let key = key.ok_or_else(|| not_found(name))?;
            entry.key = Some(key.id);
            Some(key)
        }
    };
    let Some(mut authorised) = permitted else {
        entry.denied = true;
        return Err(denied(action));
    };
    if agent.touches {
        authorised.about = Some(Rc::new(About {
            operation: action.code(),
            key: entry.key,
            caller: origin.caller.for_people(),
        }));
    }
    if let Some(key) = &key {
        destruction::refuse(agent, key, request.code())?;
    }
    if class == OperationClass::Manage
        && !works_without_registry(request.code())
        && let Some(why) = &*agent.management_refused.borrow()
    {
        return Err(Failure::new(ErrorCode::RegistryMismatch, why.clone())
            .hint("put the right registry.db back, or: keyward accept-registry"));
    }
    // In a box of its own: what is moved about before it is small then.
    let with = With {
        agent,
        origin,
        authorised: &authorised,
        deadline,
        waits: patience.for_token,
    };
    Box::pin(with.dispatch(request, key, entry)).await
}

/// What needs no registry, changes nothing in it, or puts the right one in the place of the one that
/// does not fit the log.
fn works_without_registry(code: OperationCode) -> bool {
    matches!(
        code,
        OperationCode::Lock
            | OperationCode::Unlock
            | OperationCode::AcceptRegistry
            | OperationCode::Backup
            | OperationCode::Restore
    )
}

/// Makes sure that what is known about the caller's program is new enough.
async fn identify(
    agent: &Agent,
    origin: &Origin,
    deadline: Instant,
    class: OperationClass,
    entry: &mut Entry,
) -> Result<(), Failure> {
    let age = match class {
        OperationClass::Manage => Duration::ZERO,
        OperationClass::Use | OperationClass::Read => PROGRAM_AGE,
    };
    let program = origin.caller.refresh_program(&agent.monitor, age);
    let program = tokio::time::timeout_at(deadline, program).await;
    // A deadline of 0 has passed though the program was known.
    let program = program.ok().filter(|_| Instant::now() < deadline);
    program.ok_or_else(too_late)?.map_err(|error| {
        if matches!(error, CallerError::Gone | CallerError::Changed { .. }) {
            origin.gone.set(true);
        }
        entry.denied = true;
        Failure::new(
            ErrorCode::Denied,
            format!("the caller can't be told: {error}"),
        )
        .hint("connect again")
    })
}

/// Puts the record into the log and the answer behind it.
async fn record(
    agent: &Agent,
    origin: &Origin,
    action: Action,
    reservation: Reservation,
    entry: &Entry,
    result: Result<Zeroizing<Vec<u8>>, Failure>,
) -> Answer {
    let code = action.code();
    let class = code.class();
    let before = origin
        .recorded
        .borrow()
        .iter()
        .find(|(c, seq)| *c == code && agent.audit.is_current(*seq))
        .copied();
    let has_record = class == OperationClass::Read || entry.goes_on;
    if let (Some((_, seq)), Ok(_), true) = (before, &result, has_record) {
        return answer::sealed(agent, seq, result);
    }
    let recorded = append(agent, origin, action, reservation, entry, &result);
    let seq = match recorded {
        Ok(Recorded::As(seq)) => seq,
        Ok(Recorded::Counted(proof)) => return answer::counted(proof, result),
        Err(error) => {
            let done = class == OperationClass::Manage && result.is_ok();
            return unrecorded(agent, entry, done, &error);
        }
    };
    match class {
        OperationClass::Read if result.is_ok() => origin.recorded.borrow_mut().push((code, seq)),
        OperationClass::Read | OperationClass::Use => {}
        // What changed must outlive a crash before anybody is told of it.
        OperationClass::Manage => {
            if result.is_ok() && matches!(code, OperationCode::Backup | OperationCode::Restore) {
                // The parts that follow stand behind it.
                let mut recorded = origin.recorded.borrow_mut();
                recorded.retain(|(other, _)| *other != code);
                recorded.push((code, seq));
            }
            if let Err(error) = agent.audit.sync().await {
                return unrecorded(agent, entry, result.is_ok(), &error);
            }
        }
    }
    answer::sealed(agent, seq, result)
}

/// The answer where the log does not have the record. What it has intents of is not ended there.
fn unrecorded(agent: &Agent, entry: &Entry, done: bool, error: &AuditError) -> Answer {
    for intent in &entry.ended {
        manage::keep_open(agent, intent.clone());
    }
    match entry.ended.is_empty() {
        _ if done => answer::not_recorded(error),
        true => answer::refused(error),
        false => answer::unknown(error),
    }
}

/// What became of a record.
enum Recorded {
    As(Seq),
    Counted(Suppressed),
}

fn append(
    agent: &Agent,
    origin: &Origin,
    action: Action,
    reservation: Reservation,
    entry: &Entry,
    result: &Result<Zeroizing<Vec<u8>>, Failure>,
) -> Result<Recorded, AuditError> {
    let kind = match action.code().class() {
        _ if entry.denied => Kind::Denied,
        OperationClass::Use => Kind::Use,
        OperationClass::Manage => Kind::ManageOutcome,
        OperationClass::Read => Kind::Read,
    };
    let caller = origin.caller.audit_json();
    let mut record = Record::new(kind, action.name());
    record.outcome = Some(match result {
        Ok(_) => Outcome::Ok,
        Err(failure) => Outcome::Failed(failure.code),
    });
    record.caller = Some(&caller);
    record.key = entry.key;
    record.version = entry.version;
    record.alias = entry.alias.as_deref();
    record.token = entry.token.as_deref();
    record.alg = entry.algorithm;
    record.digest = entry.digest.as_ref().map(<[u8; 32]>::as_slice);
    record.length = entry.length.map(|length| length as u64);
    record.intent = entry.intent;
    // One that does not match the log is not the right one at the next start either.
    let accepted = agent.management_refused.borrow().is_none();
    record.registry = entry.registry.filter(|_| accepted);
    record.detail = entry.detail.as_deref();
    if entry.denied {
        let mut denials = agent.denials.borrow_mut();
        match denials.admit(origin.caller.uid, std::time::Instant::now()) {
            Admission::Record { suppressed } => record.suppressed = suppressed,
            Admission::Count(proof) => return Ok(Recorded::Counted(proof)),
        }
    }
    agent.audit.append(reservation, &record).map(Recorded::As)
}

/// Records that a connection was refused before anything was asked.
///
/// # Errors
/// The log can't be written: nothing is told.
pub fn refused_at_accept(agent: &Agent, caller: &Caller, reason: &str) -> Result<(), AuditError> {
    let facts = caller.audit_json();
    let mut record = Record::new(Kind::Denied, "connect");
    record.outcome = Some(Outcome::Failed(ErrorCode::Denied));
    record.caller = Some(&facts);
    record.detail = Some(reason);
    let admission = agent
        .denials
        .borrow_mut()
        .admit(caller.uid, std::time::Instant::now());
    if let Admission::Record { suppressed } = admission {
        record.suppressed = suppressed;
        agent.audit.append(agent.audit.reserve()?, &record)?;
        agent.audit.flush()?;
    }
    Ok(())
}

/// What the caller wants, told apart where a digest hides what is signed.
fn action_of(request: &Request) -> Action {
    match request {
        Request::Sign(sign) if matches!(sign.input, SignInput::Digest(_)) => Action::SignDigest,
        other => Action::Operation(other.code()),
    }
}

fn decide(policy: &Policy, caller: &Caller, action: Action) -> Option<Authorised> {
    let facts = Facts {
        uid: caller.uid,
        gid: caller.gid,
        groups: &caller.groups,
        unit: caller.unit.unit.as_deref(),
        action,
    };
    match policy.decide(&facts) {
        Decision::Permit => Some(Authorised {
            queue_key: (caller.uid, caller.pid),
            about: None,
        }),
        Decision::Deny => None,
    }
}

fn too_late() -> Failure {
    Failure::new(
        ErrorCode::DeadlineExceeded,
        "the deadline passed before anything was begun",
    )
}

fn not_found(name: &str) -> Failure {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(256).collect();
    Failure::new(
        ErrorCode::NotFound,
        format!("there is no key {shown}, or it is not yours to see"),
    )
    .hint("keyward key list")
}

fn denied(action: Action) -> Failure {
    Failure::new(
        ErrorCode::Denied,
        format!("the policy does not let you {}", action.name()),
    )
    .hint("ask whoever runs this agent; the log has the request")
}
