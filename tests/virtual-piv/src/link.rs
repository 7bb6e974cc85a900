//! A card in the reader of vpcd, the driver that takes cards over TCP.
//!
//! The card dials in, which is its insertion; that the connection ends is its removal. Each message
//! is a length of two bytes and so many bytes: one byte is the reader's doing, more are a command.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread::{self, JoinHandle},
};

use rustix::net::sockopt::set_tcp_quickack;

use crate::{Card, Insertion};

/// What the reader does, as vpcd says it.
mod control {
    pub(super) const OFF: u8 = 0;
    pub(super) const ON: u8 = 1;
    pub(super) const RESET: u8 = 2;
    pub(super) const ANSWER_TO_RESET: u8 = 4;
}

/// A card that is in a reader, until this is dropped or somebody pulls it.
#[derive(Debug)]
pub struct Link {
    card: Card,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Puts the card into the reader that listens at this port.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn dial(card: &Card, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let served = stream.try_clone()?;
        let serving = card.clone();
        let insertion = card.insert();
        let thread = thread::Builder::new()
            .name("virtual card".into())
            .spawn(move || {
                // How it ends is no news: the reader went away, or the card was pulled.
                let _ = serve(&served, &serving, insertion);
                let _ = served.shutdown(Shutdown::Both);
                if serving.is_inserted(insertion) {
                    serving.remove();
                }
            })?;
        Ok(Self {
            card: card.clone(),
            stream,
            thread: Some(thread),
        })
    }

    /// Whether the card is still there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| !thread.is_finished())
    }

    /// The card that was put in.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }
}

impl Drop for Link {
    /// Pulls the card, also while it is busy.
    fn drop(&mut self) {
        if self.is_up() {
            self.card.remove();
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // If the card panicked, the test has failed by it.
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream, card: &Card, insertion: Insertion) -> io::Result<()> {
    loop {
        let message = receive(stream)?;
        let answer = match *message.as_slice() {
            [control::OFF | control::ON | control::RESET] => {
                card.power();
                continue;
            }
            [control::ANSWER_TO_RESET] => card.atr(),
            [] | [_] => return Err(io::ErrorKind::InvalidData.into()),
            _ => match card.transmit(insertion, &message) {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())?;
    }
}

fn receive(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    // vpcd sends length and body apart, and waits with the second until the first is acknowledged:
    // 40 ms for each command, unless that is done at once. The kernel forgets it after each packet.
    set_tcp_quickack(stream, true)?;
    stream.read_exact(&mut length)?;
    set_tcp_quickack(stream, true)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}
