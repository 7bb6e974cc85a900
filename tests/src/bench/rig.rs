//! All contestants on one token: the token directly, through p11-kit, and through keyward with and without spin.

use std::{fs, time::Duration};

use super::{
    load::{Load, Measured},
    reference::{P11Kit, Reference},
    sample::Sample,
    work::Work,
};
use crate::{Daemon, Setup, Site, TokenSetup};

/// The token's name in keyward.toml.
pub(crate) const TOKEN: &str = "main";
/// How long the worker looks for the next request before it sleeps: the default.
const SPIN: &str = "60us";

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// `cryptoki` on SoftHSM, with so many threads.
    Direct(usize),
    /// `cryptoki` on p11-kit's client module, with so many threads.
    P11Kit(usize),
    /// keyward, with the worker's spin.
    Keyward(Load),
    /// keyward, without the worker's spin.
    Sleepy(Load),
}

impl std::fmt::Display for Contestant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Direct(threads) => write!(f, "direct-{threads}"),
            Self::P11Kit(threads) => write!(f, "p11-kit-{threads}"),
            Self::Keyward(load) => load.fmt(f),
            Self::Sleepy(load) => write!(f, "{load}-nospin"),
        }
    }
}

/// The contestants, started when they are first needed.
pub(crate) struct Rig {
    keyward: Measured,
    sleepy: Option<Measured>,
    direct: Option<Reference>,
    p11_kit: Option<P11Kit>,
}

impl Rig {
    /// A token with a daemon.
    pub(crate) fn start() -> Self {
        let site = quiet(Setup::new().token(spinning(TOKEN)));
        Self {
            keyward: Measured::new(Daemon::start_on(site), TOKEN),
            sleepy: None,
            direct: None,
            p11_kit: None,
        }
    }

    /// Runs each of them again and again, in turns; each one's medians.
    pub(crate) fn race<const N: usize>(
        &mut self,
        work: Work,
        rounds: usize,
        duration: Duration,
        contestants: [Contestant; N],
    ) -> [Sample; N] {
        let samples = self.race_all(work, rounds, duration, &contestants);
        samples.try_into().expect("a sample for each contestant")
    }

    /// The same with any number of them.
    pub(crate) fn race_all(
        &mut self,
        work: Work,
        rounds: usize,
        duration: Duration,
        contestants: &[Contestant],
    ) -> Vec<Sample> {
        let mut samples = vec![Vec::new(); contestants.len()];
        for _ in 0..rounds {
            for (contestant, samples) in contestants.iter().zip(&mut samples) {
                samples.push(self.run(*contestant, work, duration));
            }
        }
        samples
            .iter()
            .map(|rounds| Sample::median(rounds))
            .collect()
    }

    fn run(&mut self, contestant: Contestant, work: Work, duration: Duration) -> Sample {
        let hsm = self.keyward.daemon.hsm(TOKEN);
        let outcome = match contestant {
            Contestant::Direct(threads) => {
                let direct = self.direct.get_or_insert_with(|| Reference::direct(hsm));
                direct.run(work, threads, duration)
            }
            Contestant::P11Kit(threads) => {
                let p11_kit = self.p11_kit.get_or_insert_with(|| P11Kit::start(hsm));
                p11_kit.run(work, threads, duration)
            }
            Contestant::Keyward(load) => Ok(load.run(&self.keyward, work, duration)),
            Contestant::Sleepy(load) => {
                let sleepy = self
                    .sleepy
                    .get_or_insert_with(|| sleepy(&self.keyward.daemon));
                Ok(load.run(sleepy, work, duration))
            }
        };
        outcome.unwrap_or_else(|error| panic!("{contestant:?} refuses {}: {error}", work.name()))
    }
}

/// A token whose worker spins.
pub(crate) fn spinning(token: &'static str) -> TokenSetup {
    TokenSetup::new(token).line(&format!("spin = {SPIN:?}"))
}

/// A site with the log level that is the default; tests want more.
pub(crate) fn quiet(setup: Setup) -> Site {
    let site = setup.build();
    site.edit_config("log = \"debug\"", "log = \"info\"");
    site
}

/// A second daemon on the token of the first, whose worker does not spin.
fn sleepy(first: &Site) -> Measured {
    let site = Setup::new().build();
    let text = fs::read_to_string(first.config()).expect("keyward.toml");
    let [from, to] = [first.dir(), site.dir()].map(|dir| dir.display().to_string());
    let text = text.replace(&from, &to).replace(SPIN, "0s");
    fs::write(site.config(), text).expect("keyward.toml");
    Measured::new(Daemon::start_on(site), TOKEN)
}
