//! Takes connections, and ends in order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use keyward_protocol::frame;
use keyward_protocol::message::ServerMessage;
use keyward_protocol::{ErrorCode, Failure};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::audit::{Kind, Record};
use crate::caller::{Caller, HoldBy};
use crate::front::native;
use crate::request::{self, Origin};

/// How long what is under way may take after a SIGTERM.
const FAREWELL: Duration = Duration::from_secs(20);

/// Why the agent ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Signal(&'static str),
    /// The monitor is gone, and with it every way to start a worker.
    MonitorGone,
}

/// Serves until a signal comes or the monitor dies; says so through `stopping` before the rest.
///
/// # Errors
/// Signals can't be awaited.
pub async fn serve(
    agent: Rc<Agent>,
    listener: UnixListener,
    stopping: impl FnOnce(),
) -> io::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let users = Rc::new(Users::default());
    let end = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (agent, users) = (agent.clone(), users.clone());
                    connections.spawn_local(connection(agent, users, stream, stopped.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: those that are open are served on.
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            end = ended(&mut terminate, &mut interrupt) => break end,
            () = agent.monitor.closed() => break End::MonitorGone,
        }
    };
    drop(listener);
    stopping();
    if matches!(end, End::Signal(_)) {
        tracing::info!(
            ?end,
            connections = connections.len(),
            "finishing what is under way"
        );
        let _ = stop.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, all).await;
        // Management goes on also where its connection is gone.
        let managed = async {
            while agent.managing.get() > 0 {
                agent.managed.notified().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, managed).await;
        let mut farewells = JoinSet::new();
        for token in agent.tokens.values() {
            let token = token.clone();
            farewells.spawn_local(async move { token.farewell().await });
        }
        farewells.join_all().await;
    }
    record_suppressed(&agent);
    if let Err(error) = agent.audit.sync_now() {
        tracing::error!(%error, "the last records may not be on the disk");
    }
    Ok(end)
}

async fn ended(terminate: &mut Signal, interrupt: &mut Signal) -> End {
    tokio::select! {
        _ = terminate.recv() => End::Signal("SIGTERM"),
        _ = interrupt.recv() => End::Signal("SIGINT"),
    }
}

/// Denials that were counted and that no later record has told of.
fn record_suppressed(agent: &Agent) {
    let counted = agent.denials.borrow_mut().drain();
    for (uid, count) in counted {
        let detail = uid.map_or("of several uids".into(), |uid| format!("of uid {uid}"));
        let mut record = Record::new(Kind::Agent, "denials-suppressed");
        record.suppressed = Some(count);
        record.detail = Some(&detail);
        let told = agent
            .audit
            .reserve()
            .and_then(|r| agent.audit.append(r, &record));
        if let Err(error) = told {
            tracing::error!(%error, count, "suppressed denials could not be recorded");
        }
    }
}

/// How many connections each uid has.
#[derive(Default)]
struct Users(RefCell<HashMap<u32, usize>>);

async fn connection(
    agent: Rc<Agent>,
    users: Rc<Users>,
    stream: UnixStream,
    stopped: watch::Receiver<bool>,
) {
    let caller = match Caller::accept(stream.as_fd(), "native", HoldBy::default()) {
        Ok(caller) => caller,
        Err(error) => {
            tracing::debug!(%error, "a caller was gone before it was served");
            return;
        }
    };
    let uid = caller.uid;
    if let Some(reason) = caller.refuse_reason(&agent.own) {
        return match request::refused_at_accept(&agent, &caller, &reason) {
            Ok(()) => refuse(&stream, Failure::new(ErrorCode::Denied, reason)),
            Err(error) => tracing::error!(%error, uid, "a refusal could not be recorded"),
        };
    }
    let Some(_counted) = Counted::new(&agent, &users, uid) else {
        let busy = Failure::new(
            ErrorCode::Busy,
            "there are too many connections to this agent",
        );
        return refuse(
            &stream,
            busy.hint("close some, or raise [limits] in keyward.toml"),
        );
    };
    native::serve(agent.clone(), stream, Rc::new(Origin::new(caller)), stopped).await;
}

/// Tells why a connection is closed; a client that does not listen is not waited for.
fn refuse(stream: &UnixStream, failure: Failure) {
    let mut message = Vec::new();
    ServerMessage::Failure { id: None, failure }.encode_into(&mut message);
    let mut bytes = Vec::new();
    if frame::write(&message, frame::MAX_FRAME, &mut bytes).is_ok() {
        let _ = stream.try_write(&bytes);
    }
}

/// A connection in the count of all and of its user.
struct Counted {
    agent: Rc<Agent>,
    users: Rc<Users>,
    uid: u32,
}

impl Counted {
    fn new(agent: &Rc<Agent>, users: &Rc<Users>, uid: u32) -> Option<Self> {
        let limits = &agent.config.limits;
        let mut by_uid = users.0.borrow_mut();
        let mine = by_uid.get(&uid).copied().unwrap_or(0);
        if agent.connections.get() >= limits.connections || mine >= limits.connections_per_user {
            return None;
        }
        by_uid.insert(uid, mine.saturating_add(1));
        agent
            .connections
            .set(agent.connections.get().saturating_add(1));
        Some(Self {
            agent: agent.clone(),
            users: users.clone(),
            uid,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let connections = &self.agent.connections;
        connections.set(connections.get().saturating_sub(1));
        let mut by_uid = self.users.0.borrow_mut();
        if let Some(mine) = by_uid.get_mut(&self.uid) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                by_uid.remove(&self.uid);
            }
        }
    }
}
