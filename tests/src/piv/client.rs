//! Another program that uses a card, beside keyward: its own process, told what to do line by line.
//!
//! libpcsclite looks for its socket once in the life of a process, so tests that run in one can't use it
//! themselves.

use std::{
    env,
    ffi::CString,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio},
};

use keyward_virtual_piv::Rig;
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode, Transaction};
use serde::{Deserialize, Serialize};

use crate::site::program;

/// The program's name, as cargo builds it.
const PROGRAM: &str = "pcsc-client";
/// SELECT of OpenPGP, which any program may have selected.
const SELECT_OPENPGP: &[u8] = b"\x00\xa4\x04\x00\x06\xd2\x76\x00\x01\x24\x01";

/// How a card is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// Others may have it, too.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Connect(Share),
    Send(Vec<u8>),
    Disconnect,
}

/// What it answers.
type Answer = Result<Vec<u8>, String>;

/// The other program. It ends when this is dropped.
#[derive(Debug)]
pub struct PcscClient {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl PcscClient {
    /// Starts it for one reader; it does nothing yet.
    ///
    /// # Panics
    /// If it was not built.
    #[must_use]
    #[track_caller]
    pub fn start(rig: &Rig, reader: &str) -> Self {
        let path = program(PROGRAM);
        let mut command = rig.command(path.to_str().expect("a path in UTF-8"));
        command
            .arg(reader)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("a program of this workspace runs");
        Self {
            orders: process.stdin.take().expect("a pipe"),
            answers: BufReader::new(process.stdout.take().expect("a pipe")),
            process,
        }
    }

    /// Connects; ends what it was connected to before.
    ///
    /// # Errors
    /// What pcscd says.
    pub fn connect(&mut self, share: Share) -> Result<(), String> {
        self.ask(&Order::Connect(share)).map(drop)
    }

    /// Connects, selects OpenPGP in a transaction, and disconnects.
    ///
    /// # Errors
    /// What pcscd says.
    pub fn select_openpgp(&mut self) -> Result<(), String> {
        self.connect(Share::Shared)?;
        let selected = self.ask(&Order::Send(SELECT_OPENPGP.to_vec()));
        self.disconnect()?;
        match selected?.as_slice() {
            [.., 0x90, 0x00] => Ok(()),
            other => Err(format!("the card says {other:02x?}")),
        }
    }

    /// Lets the card go as it is.
    ///
    /// # Errors
    /// What pcscd says.
    pub fn disconnect(&mut self) -> Result<(), String> {
        self.ask(&Order::Disconnect).map(drop)
    }

    fn ask(&mut self, order: &Order) -> Answer {
        let mut line = serde_json::to_vec(order).expect("plain values");
        line.push(b'\n');
        let sent = self.orders.write_all(&line);
        sent.and_then(|()| self.orders.flush())
            .expect("the other program runs");
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        read.expect("the other program answers");
        serde_json::from_str(&answer).expect("an answer of the other program")
    }
}

impl Drop for PcscClient {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other program itself: its argument is the reader.
#[must_use]
pub fn main() -> ExitCode {
    let reader = env::args().nth(1).expect("the name of a reader");
    let reader = CString::new(reader).expect("a name without zeros");
    let mut program = Program {
        reader,
        connected: None,
    };
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let order = serde_json::from_str(&line.expect("lines")).expect("an order");
        let answer: Answer = program.obey(order).map_err(|error| error.to_string());
        let answer = serde_json::to_string(&answer).expect("plain values");
        let written = writeln!(output, "{answer}").and_then(|()| output.flush());
        written.expect("whoever started this reads");
    }
    ExitCode::SUCCESS
}

struct Program {
    reader: CString,
    /// A context each time: one does not outlive its pcscd.
    connected: Option<(Context, Card)>,
}

impl Program {
    fn obey(&mut self, order: Order) -> Result<Vec<u8>, pcsc::Error> {
        match order {
            Order::Connect(share) => {
                self.disconnect()?;
                let mode = match share {
                    Share::Shared => ShareMode::Shared,
                    Share::Exclusive => ShareMode::Exclusive,
                };
                let context = Context::establish(Scope::System)?;
                let card = context.connect(&self.reader, mode, Protocols::ANY)?;
                self.connected = Some((context, card));
                Ok(Vec::new())
            }
            Order::Send(command) => {
                let (_, card) = self.connected.as_mut().ok_or(pcsc::Error::InvalidHandle)?;
                let transaction = card.transaction()?;
                let mut buffer = [0; 300];
                let answer = transaction.transmit(&command, &mut buffer);
                let answer = answer.map(<[u8]>::to_vec);
                end(transaction)?;
                answer
            }
            Order::Disconnect => self.disconnect().map(|()| Vec::new()),
        }
    }

    fn disconnect(&mut self) -> Result<(), pcsc::Error> {
        match self.connected.take() {
            Some((_context, card)) => card
                .disconnect(Disposition::LeaveCard)
                .map_err(|(_, error)| error),
            None => Ok(()),
        }
    }
}

fn end(transaction: Transaction<'_>) -> Result<(), pcsc::Error> {
    let ended = transaction.end(Disposition::LeaveCard);
    ended.map_err(|(_, error)| error)
}
