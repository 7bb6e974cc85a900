//! A server that speaks the protocol and does what a test says.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use keyward_protocol::frame::{self, FrameReader, MAX_FRAME};
use keyward_protocol::message::{Call, ClientMessage, KIND_HELLO, ServerMessage, VERSION, Welcome};
use keyward_protocol::{ErrorCode, Failure, cbor};

/// A socket in a folder of its own, until it is dropped.
pub(crate) struct Fake {
    folder: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Serves each connection, counted from 0, with `serve`, one after the other.
    pub(crate) fn start(serve: impl Fn(usize, Peer) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::spawn({
            let (stop, connections) = (stop.clone(), connections.clone());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let number = connections.fetch_add(1, Ordering::SeqCst);
                    serve(number, Peer::new(stream.unwrap()));
                }
            }
        });
        Self {
            folder,
            stop,
            connections,
            thread: Some(thread),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.path());
        if self.thread.take().unwrap().join().is_err() && !std::thread::panicking() {
            panic!("the fake server panicked");
        }
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    reader: FrameReader,
}

impl Peer {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            reader: FrameReader::default(),
        }
    }

    /// The next message, or `None` at the end.
    pub(crate) fn message(&mut self) -> Option<ClientMessage> {
        loop {
            if let Some(frame) = self.reader.next_frame(MAX_FRAME).unwrap() {
                return Some(ClientMessage::decode(frame).unwrap());
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(count @ 1..) => self.reader.push(&bytes[..count]),
                _ => return None,
            }
        }
    }

    /// Takes the hello and answers it.
    pub(crate) fn greet(&mut self) {
        if matches!(self.message(), Some(ClientMessage::Hello(_))) {
            self.say(&ServerMessage::Welcome(welcome()));
        }
    }

    /// The next request, or `None` at the end or when something else came.
    pub(crate) fn call(&mut self) -> Option<Call> {
        match self.message() {
            Some(ClientMessage::Call(call)) => Some(call),
            _ => None,
        }
    }

    pub(crate) fn reply<T: minicbor::Encode<()>>(&mut self, id: u64, reply: &T) {
        let body = cbor::encode(reply);
        self.say(&ServerMessage::Reply { id, body: &body });
    }

    pub(crate) fn fail(&mut self, id: Option<u64>, code: ErrorCode, message: &str) {
        let failure = Failure::new(code, message);
        self.say(&ServerMessage::Failure { id, failure });
    }

    pub(crate) fn say(&mut self, message: &ServerMessage<'_>) {
        let bytes = framed(message);
        self.raw(&bytes);
    }

    /// Ends the connection.
    pub(crate) fn hang_up(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Sends bytes; a client that is gone is no failure of the server's.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

/// The bytes of a message with its length.
pub(crate) fn framed(message: &ServerMessage<'_>) -> Vec<u8> {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    message.encode_into(&mut body);
    frame::write(&body, MAX_FRAME, &mut bytes).unwrap();
    bytes
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        kind: KIND_HELLO,
        version: VERSION,
        features: Vec::new(),
        software: "fake/1".into(),
        max_frame: MAX_FRAME as u32,
    }
}
