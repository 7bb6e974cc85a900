//! The agent's side of a token: what waits for it, and the process that serves it.
//!
//! A [`Token`] lives as long as the agent; the worker process behind it comes and goes (see
//! `worker/supervisor.rs`). Requests reach it only with an [`Authorised`], which only the pipeline makes.

mod ask;
pub(crate) mod failure;
mod hears;
mod link;
mod lockout;
mod login;
mod marker;
mod queue;
mod reply;
pub(crate) mod supervisor;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use keyward_backend::message::{Outcome, Work};
use keyward_backend::{BackendError, TokenReport};
use keyward_protocol::event::EventKind;
use keyward_protocol::operation::LoginState;
use keyward_protocol::{ErrorCode, Failure};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::link::{Link, SendError};
pub(crate) use self::queue::QueueKey;
use self::queue::{FairQueue, Full};
use crate::events::{About, Events};
use crate::request::Authorised;

pub use self::ask::Ask;
pub(crate) use self::failure::failure_of;
pub(crate) use self::login::{Login, LoginError};

/// What the configuration says about a token, as far as the agent needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The token's name.
    pub name: String,
    /// `pkcs11`, …
    pub kind: &'static str,
    /// How many threads its worker has.
    pub threads: usize,
    /// A call that takes longer has hung: the worker is killed.
    pub timeout: Duration,
    /// How many requests may wait.
    pub queue: usize,
    /// How many requests of one caller may wait.
    pub queue_per_caller: usize,
    /// The file that the worker reads the PIN from.
    pub pin_file: Option<PathBuf>,
    /// Whether the monitor keeps the PIN for the next worker.
    pub remember_pin: bool,
    /// Where login markers are kept.
    pub markers: PathBuf,
}

/// A token of the configuration.
pub struct Token {
    settings: Settings,
    state: RefCell<State>,
    report: RefCell<Option<TokenReport>>,
    queue: RefCell<FairQueue<Job>>,
    link: RefCell<Option<Rc<Link>>>,
    /// Wakes the supervisor to look at the token again.
    look_again: Notify,
    /// Whether keyward may log in by itself: not after somebody locked the token.
    may_log_in: Cell<bool>,
    /// Whether the monitor has the PIN.
    remembered: Cell<bool>,
    logging_in: tokio::sync::Mutex<()>,
    restarts: Cell<u64>,
    /// The agent is ending: no worker is started again.
    closing: Cell<bool>,
    /// The last worker has ended.
    ended: Notify,
    next_job: Cell<u64>,
    /// What was told of its state last.
    told: Cell<Option<LoginState>>,
    /// What a person should know of it while it can be used.
    note: RefCell<Option<String>>,
    /// The same of keys that it has lost.
    lost: RefCell<Option<String>>,
    events: Rc<Events>,
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Its worker is starting; requests wait.
    Starting,
    /// It can't be reached, and why.
    Absent(String),
    /// Another token is in its place, and which.
    Changed(String),
    /// It needs a PIN, and why the last attempt did not help.
    Locked(Option<String>),
    /// It can be used.
    Ready,
}

struct Job {
    number: u64,
    ask: Ask,
    about: Option<Rc<About>>,
    reply: oneshot::Sender<Result<Outcome, Failure>>,
}

/// Why a call did not do what it was to do.
#[derive(Debug)]
pub(crate) struct CallError {
    /// What the caller is told.
    pub(crate) failure: Failure,
    /// Whether a worker got it: what never left the queue was not done, and never will be.
    pub(crate) sent: bool,
    /// Whether it was the token that refused: another thing than having failed in the middle.
    pub(crate) refused: bool,
}

impl CallError {
    fn new(failure: Failure, sent: bool) -> Self {
        let refused = false;
        Self {
            failure,
            sent,
            refused,
        }
    }

    fn sent(failure: Failure) -> Self {
        Self::new(failure, true)
    }

    fn unsent(failure: Failure) -> Self {
        Self::new(failure, false)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.failure
    }
}

impl Token {
    /// A token that nobody serves yet: give it to a supervisor.
    pub fn new(settings: Settings, events: Rc<Events>) -> Self {
        Self {
            state: RefCell::new(State::Starting),
            report: RefCell::new(None),
            queue: RefCell::new(FairQueue::new(settings.queue, settings.queue_per_caller)),
            link: RefCell::new(None),
            look_again: Notify::new(),
            may_log_in: Cell::new(true),
            remembered: Cell::new(false),
            logging_in: tokio::sync::Mutex::new(()),
            restarts: Cell::new(0),
            closing: Cell::new(false),
            ended: Notify::new(),
            next_job: Cell::new(0),
            told: Cell::new(None),
            note: RefCell::default(),
            lost: RefCell::default(),
            events,
            settings,
        }
    }

    /// The token's name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What kind of hardware it is.
    pub fn kind(&self) -> &'static str {
        self.settings.kind
    }

    /// Has the token do something, when its turn comes.
    ///
    /// Dropping the future takes the request out of the queue; what the worker has begun, it
    /// finishes, and the answer is wiped. Once it has ended nothing here holds the work any more.
    pub async fn call(
        &self,
        authorised: &Authorised,
        ask: impl Into<Ask>,
        deadline: Instant,
    ) -> Result<Outcome, Failure> {
        Ok(self.attempt(authorised, ask, deadline).await?)
    }

    /// [`Token::call`] for what changes the token: says of a failure whether a worker got the call.
    pub(crate) async fn attempt(
        &self,
        authorised: &Authorised,
        ask: impl Into<Ask>,
        deadline: Instant,
    ) -> Result<Outcome, CallError> {
        self.refuse_unless_ready().map_err(CallError::unsent)?;
        let caller = authorised.queue_key();
        let number = self.next_job.get();
        self.next_job.set(number.wrapping_add(1));
        let (reply, answer) = oneshot::channel();
        let job = Job {
            number,
            ask: ask.into(),
            about: authorised.about(),
            reply,
        };
        if let Err(Full(_)) = self.queue.borrow_mut().push(caller, job) {
            return Err(CallError::unsent(Failure::new(
                ErrorCode::Busy,
                format!("too many requests wait for token {}", self.name()),
            )));
        }
        let waiting = Waiting {
            token: self,
            caller,
            number,
        };
        self.pump();
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => {
                // It left the queue by itself: nothing is to be looked for.
                std::mem::forget(waiting);
                match answer {
                    Ok(Outcome::Failed(error)) => Err(CallError {
                        refused: matches!(error, BackendError::Refused(_)),
                        ..CallError::sent(failure_of(self.name(), error))
                    }),
                    // A worker's answer is an outcome: the queue alone answers with a failure.
                    outcome => outcome.map_err(CallError::unsent),
                }
            }
            Ok(Err(_)) => Err(CallError::sent(self.died())),
            Err(_) => {
                let sent = !waiting.withdraw();
                let text = format!("token {} did not answer before the deadline", self.name());
                let failure = Failure::new(ErrorCode::DeadlineExceeded, text);
                Err(CallError::new(failure, sent))
            }
        }
    }

    /// Asks the worker for something that no caller asked for, past the queue.
    pub(crate) async fn ask(&self, work: &Work) -> Option<Outcome> {
        let link = self.link.borrow().clone()?;
        link.ask(work).await.ok()
    }

    /// Whether the worker has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending() == 0
    }

    /// What is told of keys that the token has lost.
    pub(crate) fn tell_lost(&self, what: Option<String>) {
        *self.lost.borrow_mut() = what;
    }

    /// What a client is told about the token.
    pub fn login_state(&self) -> (LoginState, Option<String>) {
        match &*self.state.borrow() {
            State::Starting => (LoginState::Starting, None),
            State::Absent(why) => (LoginState::Absent, Some(why.clone())),
            State::Changed(what) => (LoginState::Changed, Some(what.clone())),
            State::Locked(why) => (LoginState::Locked, self.with_warnings([why.clone(), None])),
            State::Ready => {
                let notes = [self.note.borrow().clone(), self.lost.borrow().clone()];
                (LoginState::Unlocked, self.with_warnings(notes))
            }
        }
    }

    /// What is told, and behind it what the token itself warns of.
    fn with_warnings(&self, told: [Option<String>; 2]) -> Option<String> {
        let report = self.report.borrow();
        let warnings = report.iter().flat_map(|report| report.warnings.clone());
        let all: Vec<_> = told.into_iter().flatten().chain(warnings).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// How near it is to be used: what is smaller comes first.
    pub(crate) fn distance(&self) -> u8 {
        match &*self.state.borrow() {
            State::Ready => 0,
            State::Starting => 1,
            State::Locked(_) => 2,
            State::Changed(_) => 3,
            State::Absent(_) => 4,
        }
    }

    /// What the token said about itself when it was last seen.
    pub fn report(&self) -> Option<TokenReport> {
        self.report.borrow().clone()
    }

    /// Whether another program can put a key in the place of another, and nobody sees it.
    pub(crate) fn hides_keys(&self) -> bool {
        (self.report.borrow().as_ref()).is_some_and(|report| report.hides_keys)
    }

    /// How many requests wait or are under way.
    pub fn pending(&self) -> usize {
        let under_way = self.link.borrow().as_ref().map_or(0, |l| l.under_way());
        self.queue.borrow().len().saturating_add(under_way)
    }

    /// How often its worker was started again.
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    /// The process id of its worker.
    pub fn worker_pid(&self) -> Option<u32> {
        self.link.borrow().as_ref().map(|link| link.pid())
    }

    /// Has the supervisor look at the token again, now.
    pub fn look_again(&self) {
        self.look_again.notify_one();
    }

    /// Why requests can't even wait, if so.
    pub fn refuse_unless_ready(&self) -> Result<(), Failure> {
        let name = self.name();
        match &*self.state.borrow() {
            State::Ready | State::Starting => Ok(()),
            State::Absent(why) => Err(Failure::new(
                ErrorCode::TokenAbsent,
                format!("token {name} can't be used: {why}"),
            )
            .hint("keyward status")),
            State::Changed(what) => Err(Failure::new(
                ErrorCode::TokenChanged,
                format!("another token is in the place of {name}: {what}"),
            )
            .hint(format!("keyward token accept {name}"))),
            State::Locked(why) => {
                let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                Err(Failure::new(
                    ErrorCode::TokenLocked,
                    format!("token {name} is locked{why}"),
                )
                .hint(format!("keyward unlock {name}")))
            }
        }
    }

    /// Why nothing can be asked of the token itself, if so; a PIN can be given to a locked one.
    pub fn refuse_unless_found(&self) -> Result<(), Failure> {
        match &*self.state.borrow() {
            State::Locked(_) => Ok(()),
            _ => self.refuse_unless_ready(),
        }
    }

    /// Sends what can be sent: one packet more than the worker has threads, so that none of them
    /// waits, and no more, so that the rest can still be ordered and cancelled. A card gets one alone:
    /// what waits behind a touch would be asked of a person after its caller had gone.
    fn pump(&self) {
        let Some(link) = self.link.borrow().clone() else {
            return;
        };
        if *self.state.borrow() != State::Ready {
            return;
        }
        let ahead = usize::from(self.settings.kind != "piv");
        let most = self.settings.threads.saturating_add(ahead);
        while link.under_way() < most {
            let Some((caller, job)) = self.queue.borrow_mut().pop() else {
                return;
            };
            if job.reply.is_closed() {
                continue;
            }
            let Ask { work, expected } = &job.ask;
            match link.send(work, expected.as_deref(), job.about.clone(), job.reply) {
                Ok(()) => {}
                // Where the worker is gone, the supervisor sees it by itself, and the next one serves.
                Err((SendError::WouldBlock | SendError::Broken, reply)) => {
                    let job = Job { reply, ..job };
                    self.queue.borrow_mut().put_back(caller, job);
                    return;
                }
                Err((SendError::TooLarge, reply)) => {
                    let _ = reply.send(Err(Failure::new(
                        ErrorCode::TooLarge,
                        "the request does not fit into a packet to the token's worker",
                    )));
                }
            }
        }
    }

    /// Draws conclusions from what a worker could not do, before anybody is told.
    fn conclude(&self, error: &BackendError) {
        match error {
            BackendError::LoginRequired => self.enter(State::Locked(None)),
            BackendError::TokenAbsent(why) => self.enter(State::Absent(why.clone())),
            BackendError::TokenChanged(what) => self.enter(State::Changed(what.clone())),
            _ => return,
        }
        self.look_again();
    }

    /// Ends the life of a worker that answers what can't be right; the next one begins clean.
    pub fn distrust(&self) {
        if let Some(link) = &*self.link.borrow() {
            link.condemn();
        }
    }

    fn enter(&self, state: State) {
        let refuses = !matches!(state, State::Ready | State::Starting);
        if *self.state.borrow() != state {
            tracing::debug!(token = self.name(), ?state, "state");
        }
        *self.state.borrow_mut() = state;
        self.events.has_moved();
        self.tell();
        if refuses {
            self.refuse_waiting();
        } else {
            self.pump();
        }
    }

    /// Tells those who listen what became of the token; that its worker starts is nobody's business.
    fn tell(&self) {
        let (now, _) = self.login_state();
        let before = self.told.get();
        if now == LoginState::Starting || before == Some(now) {
            return;
        }
        self.told.set(Some(now));
        let is_there = |state| matches!(state, LoginState::Locked | LoginState::Unlocked);
        if is_there(now) && !before.is_some_and(is_there) {
            self.events.token(EventKind::TokenInserted, self.name());
        }
        let kind = match now {
            LoginState::Locked => EventKind::TokenLocked,
            LoginState::Unlocked => EventKind::TokenUnlocked,
            LoginState::Changed => EventKind::TokenChanged,
            _ => EventKind::TokenRemoved,
        };
        self.events.token(kind, self.name());
    }

    /// Answers everything that waits with the reason why it can't be done now.
    fn refuse_waiting(&self) {
        loop {
            let Some((_, job)) = self.queue.borrow_mut().pop() else {
                return;
            };
            if let Err(failure) = self.refuse_unless_ready() {
                let _ = job.reply.send(Err(failure));
            }
        }
    }

    fn died(&self) -> Failure {
        Failure::new(
            ErrorCode::TokenFailed,
            format!(
                "the worker of token {} ended while it did this; whether it was done is not known",
                self.name()
            ),
        )
        .hint("keyward status")
    }
}

/// Takes a request out of the queue when nobody waits for it any more.
struct Waiting<'t> {
    token: &'t Token,
    caller: QueueKey,
    number: u64,
}

impl Waiting<'_> {
    /// Takes it out of the queue, if it is there.
    fn withdraw(&self) -> bool {
        let number = self.number;
        let mut queue = self.token.queue.borrow_mut();
        queue.len() > 0 && queue.remove(self.caller, |job| job.number == number) > 0
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
