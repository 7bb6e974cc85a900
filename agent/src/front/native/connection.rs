//! One connection: frames in, answers out, in whatever order they come.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use keyward_protocol::event;
use keyward_protocol::frame::{FrameReader, MAX_FRAME};
use keyward_protocol::message::{
    Call, ClientMessage, ClientMessageError, Hello, KIND_HELLO, ServerMessage, VERSION, Welcome,
};
use keyward_protocol::operation::{OperationClass, OperationCode};
use keyward_protocol::{ErrorCode, Failure, Request};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::outbox::Outbox;
use super::stream::Stream;
use crate::agent::{Agent, SOFTWARE};
use crate::request::{self, Answer, Origin, Patience};

/// A client that does not take its answers is not read from.
const MOST_UNSENT: usize = 2 * MAX_FRAME;
/// A client that does not take its events is not told more.
const MOST_TOLD: usize = 16 * 1024;
/// What the requests of one client that are under way may hold in memory.
const MOST_HELD: usize = 1024 * 1024;
/// How long a client may take nothing of what is sent to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How often a client that is not read from is asked whether it is still there.
const LISTEN: Duration = Duration::from_millis(250);

/// Serves a connection to its end. When `shutdown` turns true, nothing new is read, and what is
/// under way is finished.
pub async fn serve(
    agent: Rc<Agent>,
    stream: UnixStream,
    origin: Rc<Origin>,
    shutdown: watch::Receiver<bool>,
) {
    let stream = match Stream::new(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection can't be watched"),
    };
    let hello_by = after(agent.config.limits.hello);
    let mut connection = Connection {
        agent,
        stream,
        origin,
        reader: FrameReader::default(),
        outbox: Outbox::default(),
        tasks: JoinSet::new(),
        under_way: HashMap::new(),
        bytes: 0,
        welcomed: false,
        closing: false,
        read_by: Some(hello_by),
        write_by: None,
    };
    if let Err(error) = connection.run(shutdown).await {
        tracing::debug!(%error, "a connection ended");
    }
    // Dropping the senders cancels what is under way; each task still writes its record.
    connection.under_way.clear();
    connection.tasks.detach_all();
}

struct Connection {
    agent: Rc<Agent>,
    stream: Stream,
    origin: Rc<Origin>,
    reader: FrameReader,
    outbox: Outbox,
    tasks: JoinSet<(u64, Answer)>,
    /// By id; dropping the sender cancels the request.
    under_way: HashMap<u64, Begun>,
    /// How many bytes what is under way holds, or may hold when it is answered.
    bytes: usize,
    welcomed: bool,
    closing: bool,
    /// When the hello, or a frame that has begun, must be whole.
    read_by: Option<Instant>,
    /// When the client must have taken something.
    write_by: Option<Instant>,
}

/// A request that is under way.
struct Begun {
    /// Dropping it cancels the request.
    cancel: Option<oneshot::Sender<()>>,
    bytes: usize,
}

impl Connection {
    async fn run(&mut self, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
        loop {
            self.take_frames();
            self.release()?;
            self.write()?;
            if self.closing && self.tasks.is_empty() && self.outbox.unsent().is_empty() {
                return Ok(());
            }
            let limit = self.read_by.into_iter().chain(self.write_by).min();
            let paused = !self.wants_more();
            let reader = (!paused).then_some(&mut self.reader);
            let tells = self.outbox.unsent().len() < MOST_TOLD;
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.finished(done);
                    while let Some(done) = self.tasks.try_join_next() {
                        self.finished(done);
                    }
                    if paused && has_hung_up(&self.stream) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                read = read(&self.stream, reader) => read?,
                room = self.stream.has_room() => room?,
                () = happened(&self.origin), if tells => self.tell(),
                () = hung_up(&self.stream), if paused => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                () = until(limit) => return self.too_slow(),
                _ = shutdown.changed(), if !self.closing => self.closing = true,
            }
        }
    }

    /// Whether there is room for more requests of this client.
    fn wants_more(&self) -> bool {
        !self.closing
            && self.tasks.len() < self.agent.config.limits.pipelined
            && self.outbox.unsent().len() < MOST_UNSENT
            && self.bytes < MOST_HELD
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.outbox.unsent().is_empty() {
            match self.stream.try_write(self.outbox.unsent()) {
                Ok(length) => {
                    self.outbox.sent(length);
                    self.write_by = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.write_by.get_or_insert_with(|| after(WRITE_PATIENCE));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Puts in what has happened, as long as the client takes it; the rest waits where it is counted.
    fn tell(&mut self) {
        let Some(inbox) = self.origin.inbox() else {
            return;
        };
        while self.outbox.unsent().len() < MOST_TOLD
            && let Some(event) = inbox.take()
        {
            self.outbox
                .put_message(&ServerMessage::Event(event), MAX_FRAME);
        }
    }

    fn release(&mut self) -> io::Result<()> {
        self.outbox
            .release(&self.agent.audit, MAX_FRAME)
            .map_err(|error| {
                tracing::error!(%error, "answers are held back: the log can't be written");
                io::Error::other("the log can't be written")
            })
    }

    /// Begins whatever whole frames ask for.
    fn take_frames(&mut self) {
        let mut took = false;
        while self.wants_more() {
            let (size, message) = match self.reader.next_frame(MAX_FRAME) {
                Ok(Some(frame)) => {
                    took = true;
                    (frame.len(), ClientMessage::decode(frame))
                }
                Ok(None) => break,
                Err(error) => {
                    let failure = Failure::new(ErrorCode::TooLarge, error.to_string());
                    return self.refuse_connection(failure);
                }
            };
            self.take(size, message);
        }
        self.reader.compact();
        let partial = self.reader.is_partial() && self.wants_more();
        if took && self.welcomed {
            // What is there now is the beginning of another frame, with a time of its own.
            self.read_by = None;
        }
        self.read_by = match self.read_by {
            _ if self.welcomed && !partial => None,
            None if partial => Some(after(self.agent.config.limits.frame)),
            earlier => earlier,
        };
    }

    fn take(&mut self, size: usize, message: Result<ClientMessage, ClientMessageError>) {
        match message {
            Ok(ClientMessage::Hello(hello)) if !self.welcomed => self.welcome(&hello),
            _ if !self.welcomed => {
                self.refuse_connection(malformed("the first message must be a hello"));
            }
            Ok(ClientMessage::Hello(_)) => {
                self.refuse_connection(malformed("a second hello"));
            }
            Ok(ClientMessage::Call(call)) => self.begin(size, call),
            Ok(ClientMessage::Cancel { id }) => {
                // The id stays taken until its answer, which now comes soon.
                self.under_way
                    .entry(id)
                    .and_modify(|begun| drop(begun.cancel.take()));
            }
            Err(ClientMessageError::UnknownOperation { id, code }) => {
                let failure = Failure::new(
                    ErrorCode::Unsupported,
                    format!("this agent does not know operation {code}"),
                )
                .hint("keyward status  # shows the agent's version");
                self.outbox.put_failure(Some(id), failure, MAX_FRAME);
            }
            Err(error @ ClientMessageError::Body { id, .. }) => {
                let failure = malformed(&error.to_string());
                self.outbox.put_failure(Some(id), failure, MAX_FRAME);
            }
            Err(error) => self.refuse_connection(malformed(&error.to_string())),
        }
    }

    fn welcome(&mut self, hello: &Hello) {
        if !(hello.oldest..=hello.newest).contains(&VERSION) {
            let (oldest, newest) = (hello.oldest, hello.newest);
            return self.refuse_connection(
                Failure::new(
                    ErrorCode::Version,
                    format!(
                        "the client speaks versions {oldest} to {newest}, this agent {VERSION}"
                    ),
                )
                .hint("update the older of the two"),
            );
        }
        self.welcomed = true;
        self.read_by = None;
        let events = hello.features.iter().any(|name| name == event::FEATURE);
        let features = events.then(|| event::FEATURE.to_owned());
        if events {
            self.origin.agree_on_events();
        }
        let features = features.into_iter().collect();
        let welcome = Welcome {
            kind: KIND_HELLO,
            version: VERSION,
            features,
            software: SOFTWARE.into(),
            max_frame: u32::try_from(MAX_FRAME).unwrap_or(u32::MAX),
        };
        self.outbox
            .put_message(&ServerMessage::Welcome(welcome), MAX_FRAME);
    }

    fn begin(&mut self, size: usize, call: Call) {
        let Call {
            id,
            deadline_ms,
            wait: for_token,
            request,
        } = call;
        if self.under_way.contains_key(&id) {
            return self.refuse_connection(malformed("an id that is under way already"));
        }
        let (cancel, cancelled) = oneshot::channel();
        // A reply can be as large as a frame where it lists what there is.
        let bytes = match request.code().class() {
            OperationClass::Read => MAX_FRAME,
            OperationClass::Use | OperationClass::Manage => size,
        };
        self.bytes = self.bytes.saturating_add(bytes);
        let cancel = Some(cancel);
        self.under_way.insert(id, Begun { cancel, bytes });
        let limits = &self.agent.config.limits;
        // A card takes its time to make an RSA key, and what comes too late is destroyed again.
        let unsaid = match request.code() {
            OperationCode::Create | OperationCode::Rotate | OperationCode::Import => {
                limits.max_deadline
            }
            _ => limits.deadline,
        };
        let wait = deadline_ms
            .map_or(unsaid, |ms| Duration::from_millis(ms.into()))
            .min(limits.max_deadline);
        let (agent, origin) = (self.agent.clone(), self.origin.clone());
        let patience = Patience {
            deadline: after(wait),
            for_token,
        };
        let answer = answer(agent, origin, patience, request, cancelled);
        self.tasks.spawn_local(async move { (id, answer.await) });
    }

    fn finished(&mut self, done: Result<(u64, Answer), tokio::task::JoinError>) {
        match done {
            Ok((id, answer)) => {
                if let Some(begun) = self.under_way.remove(&id) {
                    self.bytes = self.bytes.saturating_sub(begun.bytes);
                }
                self.outbox.put(id, answer);
                // Whoever connected is not there any more: nothing new is begun for others.
                self.closing |= self.origin.is_gone();
            }
            Err(error) => {
                tracing::error!(%error, "a request ended without an answer");
                self.closing = true;
            }
        }
    }

    /// Tells why, and reads no more.
    fn refuse_connection(&mut self, failure: Failure) {
        self.outbox.put_failure(None, failure, MAX_FRAME);
        self.closing = true;
        self.read_by = None;
    }

    fn too_slow(&mut self) -> io::Result<()> {
        let failure = Failure::new(
            ErrorCode::DeadlineExceeded,
            if self.welcomed {
                "a frame did not come whole in time"
            } else {
                "no hello came in time"
            },
        );
        self.refuse_connection(failure);
        self.write()?;
        Err(io::ErrorKind::TimedOut.into())
    }
}

async fn answer(
    agent: Rc<Agent>,
    origin: Rc<Origin>,
    patience: Patience,
    request: Request,
    cancelled: oneshot::Receiver<()>,
) -> Answer {
    let manages = request.code().class() == OperationClass::Manage;
    let counted_by = agent.clone();
    let served = async move {
        let cancelled = async {
            let _ = cancelled.await;
        };
        request::serve(&agent, &origin, patience, request, cancelled).await
    };
    if manages {
        // What has begun is finished, whatever becomes of the connection.
        let managing = Managing::new(&counted_by);
        let served = async move {
            let _managing = managing;
            served.await
        };
        match tokio::task::spawn_local(served).await {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    } else {
        served.await
    }
}

/// Management in the count of what a shutdown waits for.
struct Managing(Rc<Agent>);

impl Managing {
    fn new(agent: &Rc<Agent>) -> Self {
        agent.managing.set(agent.managing.get().saturating_add(1));
        Self(agent.clone())
    }
}

impl Drop for Managing {
    fn drop(&mut self) {
        let managing = &self.0.managing;
        managing.set(managing.get().saturating_sub(1));
        self.0.managed.notify_one();
    }
}

fn malformed(text: &str) -> Failure {
    Failure::new(ErrorCode::Malformed, text)
}

fn after(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now)
}

/// Reads when there is something, if it is wanted.
async fn read(stream: &Stream, reader: Option<&mut FrameReader>) -> io::Result<()> {
    let Some(reader) = reader else {
        return std::future::pending().await;
    };
    match stream.read(reader).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Ends when there is something to tell to a connection that has subscribed.
async fn happened(origin: &Origin) {
    match origin.inbox() {
        Some(inbox) => inbox.arrived().await,
        None => std::future::pending().await,
    }
}

/// Ends when the client has gone. Whoever is not read from is asked now and then: readiness would
/// tell of what is unread, again and again.
async fn hung_up(stream: &Stream) {
    loop {
        tokio::time::sleep(LISTEN).await;
        if has_hung_up(stream) {
            return;
        }
    }
}

fn has_hung_up(stream: &Stream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let _ = rustix::event::poll(&mut polled, Some(&now));
    polled
        .iter()
        .any(|fd| fd.revents().contains(PollFlags::HUP))
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit).await,
        None => std::future::pending().await,
    }
}
