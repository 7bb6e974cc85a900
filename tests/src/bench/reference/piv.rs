//! A card as a program sees it that uses `pcsc` itself: one transaction for each use, with no handle kept, which checks the
//! card's serial number and leaves no PIN verified, as keyward does.

use std::{
    env,
    ffi::CString,
    io::BufReader,
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use keyward_protocol::{operation::Describe, piv::PivLocator};
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode, Transaction};
use serde::{Deserialize, Serialize};

use super::{Answer, Order, end, receive, send};
use crate::{
    Daemon, PIV_PIN,
    bench::{
        sample::{Cpu, Sample, histogram, micros_each, record, thread_time},
        work::{MESSAGE, Work},
    },
};

/// The argument that makes the benchmark the reference process of a card.
pub(crate) const ARGUMENT: &str = "--reference-piv";
/// How often it is done before it counts.
const WARM_UP: usize = 20;

/// SELECT of the PIV application.
const SELECT: &[u8] = b"\x00\xa4\x04\x00\x09\xa0\x00\x00\x03\x08\x00\x00\x10\x00\x00";
/// GET SERIAL.
const SERIAL: &[u8] = b"\x00\xf8\x00\x00\x00";
/// VERIFY that takes back what was verified.
const UNVERIFY: &[u8] = b"\x00\x20\xff\x80\x00";
/// The algorithm of P-256 (SP 800-78-4 Table 6-2).
const P256: u8 = 0x11;

/// What it uses.
#[derive(Debug, Serialize, Deserialize)]
struct Keys {
    reader: String,
    serial: u32,
    /// The slots of the keys that sign and agree.
    sign: u8,
    agree: u8,
    /// A point on the curve.
    peer: Vec<u8>,
}

/// A process that uses the keys of a daemon's card without the daemon.
pub(crate) struct DirectPiv {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl DirectPiv {
    /// Starts it.
    pub(crate) fn start(daemon: &Daemon, token: &str) -> Self {
        let card = daemon.card(token);
        let slot = |work: Work| {
            let key = work.name().to_owned();
            let described = daemon.client().call(Describe { key }).expect("a key");
            let version = described.versions.last().expect("a version");
            let place = version.placements.first().expect("a placement");
            let locator: PivLocator = place.locator.parse().expect("the place of a key on a card");
            locator.slot
        };
        let keys = Keys {
            reader: card.reader_name(),
            serial: card.card().serial(),
            sign: slot(Work::SignP256),
            agree: slot(Work::EcdhP256),
            peer: point(daemon),
        };
        let mut command = Command::new(env::current_exe().expect("the path of this program"));
        command.arg(ARGUMENT).envs(card.rig().environment());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program runs once more");
        let mut orders = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        send(&mut orders, &keys);
        Self {
            process,
            orders,
            answers,
        }
    }

    /// Does the work again and again.
    pub(crate) fn run(&mut self, work: Work, duration: Duration) -> Sample {
        let order = Order {
            work,
            threads: 1,
            duration,
        };
        send(&mut self.orders, &order);
        let answer: Answer = receive(&mut self.answers).expect("the reference process still runs");
        answer.expect("the card does it")
    }
}

impl Drop for DirectPiv {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// The point of the key that signs: uncompressed (SEC 1 §2.3.3), at the end of its SPKI.
fn point(daemon: &Daemon) -> Vec<u8> {
    let file = daemon.public_file(Work::SignP256.name());
    let spki = crate::openssl::public_der(&file).expect("SPKI");
    let start = spki.len().checked_sub(65).expect("a point");
    spki.get(start..).expect("a point").to_vec()
}

/// The reference process: what it uses comes in the first line, then orders.
pub(crate) fn main() -> ExitCode {
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let keys: Keys = receive(&mut input).expect("keys");
    let direct = Direct {
        context: Context::establish(Scope::System).expect("pcscd answers"),
        reader: CString::new(keys.reader.clone()).expect("a name"),
        keys,
    };
    while let Some(Order { work, duration, .. }) = receive(&mut input) {
        let sample: Answer = Ok(direct.run(work, duration));
        send(&mut output, &sample);
    }
    ExitCode::SUCCESS
}

struct Direct {
    context: Context,
    reader: CString,
    keys: Keys,
}

impl Direct {
    fn run(&self, work: Work, duration: Duration) -> Sample {
        let command = self.command(work);
        (0..WARM_UP).for_each(|_| self.once(&command));
        let mut latencies = histogram();
        let used = thread_time();
        let begin = Instant::now();
        let mut last = begin;
        while last.duration_since(begin) < duration {
            self.once(&command);
            let now = Instant::now();
            record(&mut latencies, now.duration_since(last));
            last = now;
        }
        let used = thread_time().saturating_sub(used);
        let cpu = Cpu {
            caller: micros_each(used, latencies.len()),
            ..Cpu::default()
        };
        Sample::new(&latencies, last.duration_since(begin), cpu)
    }

    /// GENERAL AUTHENTICATE: the use of a key.
    fn command(&self, work: Work) -> Vec<u8> {
        let digest = MESSAGE.first_chunk::<32>().expect("a longer message");
        let (tag, input, slot) = match work {
            Work::SignP256 => (0x81, digest.as_slice(), self.keys.sign),
            Work::EcdhP256 => (0x85, self.keys.peer.as_slice(), self.keys.agree),
            other => panic!("{} is not asked of a card", other.name()),
        };
        let length = |bytes: usize| u8::try_from(bytes).expect("a short command");
        let mut template = vec![0x82, 0, tag, length(input.len())];
        template.extend_from_slice(input);
        let mut command = vec![0, 0x87, P256, slot, length(template.len() + 2), 0x7c];
        command.push(length(template.len()));
        command.extend_from_slice(&template);
        command.push(0);
        command
    }

    fn once(&self, command: &[u8]) {
        let connected = self
            .context
            .connect(&self.reader, ShareMode::Shared, Protocols::ANY);
        let mut card: Card = connected.expect("the card is there");
        let transaction = card.transaction().expect("a transaction");
        transmit(&transaction, SELECT);
        let serial = transmit(&transaction, SERIAL);
        assert_eq!(serial, self.keys.serial.to_be_bytes(), "another card");
        let mut verify = b"\x00\x20\x00\x80\x08\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
        let pin = verify.get_mut(5..5 + PIV_PIN.len()).expect("a short PIN");
        pin.copy_from_slice(PIV_PIN.as_bytes());
        transmit(&transaction, &verify);
        assert!(!transmit(&transaction, command).is_empty());
        transmit(&transaction, UNVERIFY);
        let ended = transaction.end(Disposition::LeaveCard).is_ok();
        assert!(ended, "the transaction has ended before");
        let left = card.disconnect(Disposition::LeaveCard);
        assert!(left.is_ok(), "the card is gone");
    }
}

/// Sends a command that the card must do.
fn transmit(transaction: &Transaction<'_>, command: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 300];
    let answer = transaction.transmit(command, &mut buffer);
    match answer.expect("an answer").split_last_chunk::<2>() {
        Some((data, [0x90, 0x00])) => data.to_vec(),
        other => panic!("the card says {other:02x?}"),
    }
}
