//! A connection without a client library: for what no library would send.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use keyward_client::protocol::{
    Failure, Request, cbor,
    frame::{self, FrameReader},
    message::{Call, ClientMessage, Hello, ServerMessage},
    operation::Operation,
};

use crate::daemon::PATIENCE;

/// No frame of the tests is larger.
const LIMIT: usize = 1 << 20;

/// A connection to an agent.
#[derive(Debug)]
pub struct Raw {
    stream: UnixStream,
    reader: Reader,
}

#[derive(Default)]
struct Reader(FrameReader);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

/// What an agent can answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It said hello.
    Welcome,
    /// The reply to a request.
    Reply {
        /// The id of the request.
        id: u64,
        /// The operation's reply, encoded.
        body: Vec<u8>,
    },
    /// A failure, of a request or of the connection.
    Failure {
        /// The id of the request.
        id: Option<u64>,
        /// What went wrong.
        failure: Failure,
    },
    /// The agent hung up.
    End,
}

impl Raw {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("somebody listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a limit on reading");
        Self {
            stream,
            reader: Reader::default(),
        }
    }

    /// Connects and says hello.
    ///
    /// # Panics
    /// If it is not answered.
    #[must_use]
    #[track_caller]
    pub fn welcomed(socket: &Path) -> Self {
        let mut raw = Self::connect(socket);
        raw.send(&ClientMessage::Hello(Hello::new("a test")).encode());
        assert_eq!(raw.answer(), Answer::Welcome);
        raw
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The agent has hung up.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If the agent has hung up.
    #[track_caller]
    pub fn send(&mut self, body: &[u8]) {
        let bytes = framed(body);
        self.write(&bytes).expect("the agent listens");
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If the agent has hung up.
    #[track_caller]
    pub fn call(&mut self, id: u64, request: impl Into<Request>) {
        self.send(&call(id, request));
    }

    /// Sends a cancellation.
    ///
    /// # Panics
    /// If the agent has hung up.
    #[track_caller]
    pub fn cancel(&mut self, id: u64) {
        self.send(&ClientMessage::Cancel { id }.encode());
    }

    /// The next thing that the agent says.
    ///
    /// # Panics
    /// If it says nothing for very long, or what no agent says.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        loop {
            let frame = self.reader.0.next_frame(LIMIT).expect("a frame of its");
            if let Some(frame) = frame {
                return match ServerMessage::decode(frame).expect("a message of an agent") {
                    ServerMessage::Welcome(_) => Answer::Welcome,
                    ServerMessage::Reply { id, body } => Answer::Reply {
                        id,
                        body: body.to_vec(),
                    },
                    ServerMessage::Failure { id, failure } => Answer::Failure { id, failure },
                    ServerMessage::Event(event) => panic!("not asked for: {event:?}"),
                };
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Answer::End,
                Ok(length) => self.reader.0.push(bytes.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Answer::End,
                Err(error) => panic!("the agent says nothing: {error}"),
            }
        }
    }

    /// The failure that the agent tells next, and the id that it belongs to.
    ///
    /// # Panics
    /// If it says something else.
    #[track_caller]
    pub fn failure(&mut self) -> (Option<u64>, Failure) {
        match self.answer() {
            Answer::Failure { id, failure } => (id, failure),
            other => panic!("no failure: {other:?}"),
        }
    }

    /// The reply that comes next, of a request with this id.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn reply<O: Operation>(&mut self, id: u64) -> O::Reply {
        match self.answer() {
            Answer::Reply { id: of, body } if of == id => {
                cbor::decode_known(&body).expect("the operation's reply")
            }
            other => panic!("no reply to {id}: {other:?}"),
        }
    }

    /// Whether the agent has something to say, or has hung up, without waiting for it.
    ///
    /// # Panics
    /// If the socket can't be asked.
    #[must_use]
    #[track_caller]
    pub fn has_answer(&self) -> bool {
        let mut polled = [rustix::event::PollFd::new(
            &self.stream,
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut polled, Some(&now)).expect("poll") > 0
    }

    /// Says hello; whether the agent welcomes it.
    #[must_use]
    pub fn is_welcome(mut self) -> bool {
        let hello = framed(&ClientMessage::Hello(Hello::new("a test")).encode());
        self.write(&hello).is_ok() && self.answer() == Answer::Welcome
    }

    /// Sends bytes if the agent takes them soon; whether it did.
    ///
    /// # Panics
    /// If the socket can't be set up.
    #[must_use]
    #[track_caller]
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        let soon = Some(Duration::from_millis(200));
        self.stream.set_write_timeout(soon).expect("a limit");
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends no more, but still listens.
    ///
    /// # Panics
    /// If the agent has hung up.
    #[track_caller]
    pub fn finish(&mut self) {
        self.stream
            .shutdown(std::net::Shutdown::Write)
            .expect("the agent listens");
    }

    /// Gives up on an answer after so long.
    ///
    /// # Panics
    /// If the limit is 0.
    #[track_caller]
    pub fn patience(&mut self, limit: Duration) {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("a limit on reading");
    }
}

/// A body with its length before it.
///
/// # Panics
/// If it is larger than any frame of the tests.
#[must_use]
#[track_caller]
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(body, LIMIT, &mut bytes).expect("a frame");
    bytes
}

/// The body of a request's frame.
#[must_use]
pub fn call(id: u64, request: impl Into<Request>) -> Vec<u8> {
    ClientMessage::Call(Call {
        id,
        deadline_ms: None,
        wait: false,
        request: request.into(),
    })
    .encode()
}
