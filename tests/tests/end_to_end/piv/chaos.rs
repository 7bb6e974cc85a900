//! A thousand things go wrong under load, and nothing breaks.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use keyward_client::protocol::{
    CoseKey, ErrorCode,
    operation::{Ecdh, GetPublicKey},
};
use keyward_tests::piv::{PcscClient, Share, pins_sent_to};
use keyward_virtual_piv::{Card, Touch};

use super::*;

const STEPS: usize = 1000;
const CLIENTS: u64 = 4;
const CARDS: [&str; 2] = ["a", "b"];
/// How long a request may take, and how late the answer may be on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(15);
/// Between two steps something is to happen: so many answers, or this time.
const ANSWERS: usize = 3;
const PAUSE: Duration = Duration::from_millis(15);
/// What a use sends: SELECT, GET VERSION, GET SERIAL, VERIFY, GENERAL AUTHENTICATE.
const OF_A_USE: [u8; 5] = [0xa4, 0xfd, 0xf8, 0x20, 0x87];
/// What a client may hear instead of an answer.
const TYPED: [ErrorCode; 6] = [
    ErrorCode::TokenAbsent,
    ErrorCode::TokenLocked,
    ErrorCode::TokenFailed,
    ErrorCode::TouchMissed,
    ErrorCode::Busy,
    ErrorCode::DeadlineExceeded,
];
/// The seed, to have the same steps again.
const SEED: &str = "KEYWARD_CHAOS_SEED";

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % limit
    }
}

/// Says the seed of a test that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with the same steps: {SEED}={}", self.0);
        }
    }
}

/// What became of the requests of a client.
#[derive(Default)]
struct Became {
    done: BTreeMap<&'static str, usize>,
    refused: BTreeMap<String, usize>,
    longest: Duration,
    wrong: Vec<String>,
}

/// What clients and troubles know of each other.
#[derive(Default)]
struct Course {
    answers: AtomicUsize,
    is_over: AtomicBool,
}

/// Asks for one thing after the other until it is over.
fn ask(daemon: &Daemon, peer: &CoseKey, seed: u64, course: &Course) -> Became {
    let mut dice = Dice(seed);
    let mut became = Became::default();
    let mut hasty = daemon.client();
    let mut patient = patient(daemon, DEADLINE);
    while !course.is_over.load(Ordering::Relaxed) {
        // One that does not wait for a card hears at once that there is none.
        let client = match dice.below(4) {
            0 => &mut hasty,
            _ => &mut patient,
        };
        let key = ["both", "agree", "mine", "touched"][dice.below(4)];
        let asked = Instant::now();
        let answer = match key {
            "agree" => {
                let agree = Ecdh {
                    key: key.to_owned(),
                    peer: peer.clone(),
                    kdf: None,
                    version: None,
                };
                client.call_with_deadline(agree, DEADLINE).map(drop)
            }
            _ => client
                .call_with_deadline(sign(key, b"message"), DEADLINE)
                .map(drop),
        };
        became.longest = became.longest.max(asked.elapsed());
        course.answers.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(()) => *became.done.entry(key).or_default() += 1,
            Err(Error::Refused(failure)) if TYPED.contains(&failure.code) => {
                *became.refused.entry(failure.code.to_string()).or_default() += 1;
            }
            Err(other) => became.wrong.push(format!("{key}: {other:?}")),
        }
    }
    became
}

/// Does what goes wrong.
struct Trouble<'d> {
    daemon: &'d Daemon,
    dice: Dice,
    others: Vec<PcscClient>,
    strangers: Vec<Card>,
}

impl Trouble<'_> {
    /// What it was.
    fn step(&mut self) -> &'static str {
        let nth = self.dice.below(CARDS.len());
        let token = self.daemon.card(CARDS[nth]);
        let what = self.dice.below(1000);
        // A card that is away comes back soon, so that there is something to go wrong.
        if what < 400 && !token.is_present() {
            token.insert();
            return "insert";
        }
        match what {
            // What pcscd needs half a second for is rare.
            0..=15 => {
                token.pull();
                "pull"
            }
            16..=21 => {
                self.strangers.push(token.swap());
                "swap"
            }
            22..=25 => {
                token.rig().restart();
                "restart"
            }
            26..=40 => {
                let instruction = OF_A_USE[self.dice.below(OF_A_USE.len())];
                match self.dice.below(2) {
                    0 => token.card().pull_at(instruction),
                    _ => token.card().pull_after(instruction),
                }
                "pull in the middle"
            }
            // Nor are programs that pcscd has wait, 100 ms each time that the card is busy.
            41..=90 => {
                // Whether it gets the card is its own business.
                let _ = self.others[nth].select_openpgp();
                "theft"
            }
            91..=99 => {
                let _ = self.others[nth].connect(Share::Exclusive);
                let _ = self.others[nth].disconnect();
                "exclusive theft"
            }
            100..=580 => {
                let late = u64::try_from(self.dice.below(100)).expect("a few");
                token
                    .card()
                    .touch(Touch::After(Duration::from_millis(late)));
                "late touch"
            }
            581..=680 => {
                token.card().touch(Touch::ByHand);
                "touch by hand"
            }
            681..=730 => {
                token.card().touch(Touch::Never);
                "no touch"
            }
            _ => {
                token.card().press();
                "press"
            }
        }
    }
}

#[test]
fn a_thousand_troubles_under_load_break_nothing() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    let seed = Seed(seed.unwrap_or_else(|| u64::from(now.subsec_nanos()) | 1));
    let setup = Setup::new()
        .token(TokenSetup::piv("a"))
        .token(TokenSetup::piv("b"));
    let daemon = Daemon::start(setup);
    for token in CARDS {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    let touched = Create {
        piv: Some(PivChoice {
            touch_policy: Some(TouchPolicy::Always),
            ..PivChoice::default()
        }),
        ..create("touched", Purpose::Sign, KeyType::P256)
    };
    let mine = create("mine", Purpose::Sign, KeyType::P256);
    for key in [mine, touched] {
        let token = Some("a".to_owned());
        daemon
            .client()
            .call(Create { token, ..key })
            .expect("a key");
    }
    import(&daemon, "both", Purpose::Sign, &CARDS);
    import(&daemon, "agree", Purpose::Agree, &CARDS);
    let public = GetPublicKey {
        key: "agree".to_owned(),
        version: None,
    };
    let peer = daemon.client().call(public).expect("a key").cose_key;
    let cards = CARDS.map(|token| daemon.card(token).card().clone());
    for card in &cards {
        card.touch_timeout(Duration::from_millis(70));
    }
    let before = CARDS.map(|token| daemon.worker_pid(token));

    let course = Course::default();
    let mut trouble = Trouble {
        daemon: &daemon,
        dice: Dice(seed.0),
        others: CARDS.map(|token| daemon.card(token).other_program()).into(),
        strangers: Vec::new(),
    };
    let mut steps: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    let became = thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|nth| {
                let (daemon, peer, course) = (&daemon, &peer, &course);
                let seed = seed.0.wrapping_mul(2 * nth + 1);
                scope.spawn(move || ask(daemon, peer, seed, course))
            })
            .collect();
        // However the steps end, the clients end.
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                let before = course.answers.load(Ordering::Relaxed);
                let begun = Instant::now();
                let step = trouble.step();
                let (count, time) = steps.entry(step).or_default();
                *count += 1;
                *time += begun.elapsed();
                let answered = || course.answers.load(Ordering::Relaxed) >= before + ANSWERS;
                let _ = wait_for(answered, PAUSE);
            }
        }));
        course.is_over.store(true, Ordering::Relaxed);
        let became: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        if let Err(panic) = broken {
            std::panic::resume_unwind(panic);
        }
        became
    });

    eprintln!("steps {steps:.1?}");
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for became in became {
        let became = became.expect("a client");
        eprintln!("done {:?}, refused {:?}", became.done, became.refused);
        assert!(became.wrong.is_empty(), "{:#?}", became.wrong);
        assert!(became.longest < DEADLINE + GRACE, "{:?}", became.longest);
        assert!(!became.done.is_empty(), "a client was never served");
        for (key, count) in became.done {
            *done.entry(key).or_default() += count;
        }
    }
    assert_eq!(done.len(), 4, "{done:?}");
    for (token, card) in CARDS.iter().zip(&cards) {
        card.touch(Touch::AtOnce);
        card.forget_faults();
        daemon.card(token).insert();
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    for key in ["both", "mine", "touched"] {
        sign_once(&daemon, key).expect("a signature");
    }
    for (nth, token) in CARDS.iter().enumerate() {
        assert_sound(&daemon, token);
        assert_eq!(daemon.worker_pid(token), before[nth]);
        assert_eq!(daemon.token(token).pending, 0);
        assert_eq!(daemon.card(token).pins_refused(), 0);
    }
    let strangers = trouble.strangers.iter();
    assert_eq!(strangers.map(pins_sent_to).sum::<usize>(), 0);
}
