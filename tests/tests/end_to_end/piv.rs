//! PIV cards behind keywardd: virtual ones in the readers of a real pcscd.

mod chaos;
mod foreign;
mod hot_plug;
mod keys;
mod management;
mod pin;
mod secrets;
mod sharing;
mod spare;
mod touch;
mod waiting;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use keyward_client::{
    Client, Error,
    protocol::{
        KeyType, Purpose, SecretBytes,
        event::{Event, EventKind},
        operation::{
            Create, Done, Import, KeyDescription, KeyMaterial, LoginState, Signature, Unlock,
        },
        piv::{PivChoice, TouchPolicy},
    },
};
use keyward_tests::{
    Daemon, PATIENCE, PIV_PIN, Pin, Setup, TokenSetup, openssl,
    request::{create, sign},
    wait_for, wait_for_some,
};

/// The token's name.
const CARD: &str = "card";
/// How soon something is to be told.
const SOON: Duration = Duration::from_secs(1);

/// A daemon with one card that is unlocked.
#[track_caller]
fn one_card(setup: TokenSetup) -> Daemon {
    let daemon = Daemon::start(Setup::new().token(setup));
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    daemon
}

/// A daemon with one card whose PIN a person types, and has typed.
#[track_caller]
fn typed(line: &str) -> Daemon {
    let setup = TokenSetup::piv(CARD).pin(Pin::Ask).line(line);
    let daemon = Daemon::start(Setup::new().token(setup));
    daemon.wait_for_token(CARD, LoginState::Locked);
    unlock(&daemon, PIV_PIN).expect("the right PIN");
    daemon
}

fn unlock(daemon: &Daemon, pin: &str) -> Result<Done, Error> {
    unlock_with(daemon, pin, false)
}

fn unlock_with(daemon: &Daemon, pin: &str, spend: bool) -> Result<Done, Error> {
    daemon.client().call(Unlock {
        token: Some(CARD.to_owned()),
        pin: Some(secret(pin)),
        spend_withheld_try: spend,
    })
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::copy_from(text.as_bytes())
}

fn sign_once(daemon: &Daemon, key: &str) -> Result<Signature, Error> {
    daemon.client().call(sign(key, b"message"))
}

/// Makes a key as it was chosen.
#[track_caller]
fn make(daemon: &Daemon, alias: &str, purpose: Purpose, kind: KeyType, piv: PivChoice) {
    let request = Create {
        piv: Some(piv),
        token: Some(CARD.to_owned()),
        ..create(alias, purpose, kind)
    };
    let made = daemon.client().call(request);
    made.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()));
}

/// Makes a P-256 key that signs when it is touched.
#[track_caller]
fn make_touched(daemon: &Daemon, alias: &str, policy: TouchPolicy) {
    let piv = PivChoice {
        touch_policy: Some(policy),
        ..PivChoice::default()
    };
    make(daemon, alias, Purpose::Sign, KeyType::P256, piv);
}

/// Puts a P-256 key into these tokens.
#[track_caller]
fn import(daemon: &Daemon, alias: &str, purpose: Purpose, tokens: &[&str]) -> KeyDescription {
    let der = openssl::generate_pkcs8(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let made = daemon.client().call(Import {
        purpose,
        material: KeyMaterial::Pkcs8(SecretBytes::copy_from(&der)),
        alias: Some(alias.to_owned()),
        tokens: Some(tokens.iter().map(|token| (*token).to_owned()).collect()),
        formats: None,
        tags: None,
        existing: None,
        piv: None,
        bind: None,
    });
    made.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()))
}

/// The place of the only version of a key, or of its newest.
#[track_caller]
fn locator(key: &KeyDescription) -> &str {
    let version = key.versions.last().expect("a version");
    &version.placements.first().expect("a placement").locator
}

/// What was told, and when.
#[derive(Clone)]
struct Heard {
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
}

impl Heard {
    /// From now on, until the daemon ends.
    #[track_caller]
    fn of(daemon: &Daemon) -> Self {
        let subscribed = daemon.client().subscribe().expect("events");
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let heard = events.clone();
        thread::spawn(move || {
            for event in subscribed {
                let Ok(event) = event else { return };
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push((Instant::now(), event));
            }
        });
        Self { events }
    }

    fn all(&self) -> Vec<(Instant, Event)> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }

    fn count(&self, kind: EventKind) -> usize {
        self.all().iter().filter(|(_, e)| e.kind == kind).count()
    }

    /// Waits for the nth of a kind, from 1, and when it came.
    #[track_caller]
    fn nth(&self, kind: EventKind, nth: usize) -> (Instant, Event) {
        let found = || {
            let all = self.all().into_iter();
            all.filter(|(_, event)| event.kind == kind).nth(nth - 1)
        };
        let found = wait_for_some(found, PATIENCE);
        found.unwrap_or_else(|| panic!("no {kind:?}, but {:#?}", self.all()))
    }
}

/// Another thread that asks for a signature.
fn asking(daemon: &Daemon, key: &str) -> thread::JoinHandle<Result<Signature, Error>> {
    let (mut client, key) = (daemon.client(), key.to_owned());
    thread::spawn(move || client.call(sign(&key, b"message")))
}

/// A client that waits for a token, at most so long.
fn patient(daemon: &Daemon, at_most: Duration) -> Client {
    let mut client = daemon.client();
    client.wait_for_tokens(Some(at_most));
    client
}

/// Nothing was lost: no try at the PIN, no worker, nothing verified.
#[track_caller]
fn assert_sound(daemon: &Daemon, token: &str) {
    let card = daemon.card(token).card();
    assert_eq!(card.pin_tries(), 3, "{}", daemon.stderr());
    assert!(!card.pin_is_verified() && !card.is_managed());
    assert_eq!(daemon.token(token).restarts, 0, "{}", daemon.stderr());
}
