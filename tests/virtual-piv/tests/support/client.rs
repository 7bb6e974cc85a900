//! Programs that are clients of a card: they are run, and what they say is looked at.
#![allow(dead_code, reason = "each test uses some of it")]

use std::{process::Command, time::Duration};

use keyward_virtual_piv::rig;

/// How long may take what takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command that is run to its end.
pub(crate) trait Said {
    /// Whether it succeeded, and what it wrote: stdout, then stderr.
    fn said(&mut self) -> (bool, String);

    /// What it wrote, if it succeeded.
    fn succeeds(&mut self) -> String;

    /// What it wrote, if it failed.
    fn fails(&mut self) -> String;
}

impl Said for Command {
    #[track_caller]
    fn said(&mut self) -> (bool, String) {
        let output = self.output().unwrap_or_else(|error| {
            let program = self.get_program().display();
            panic!("{program}: {error}; type `make test`, which installs it")
        });
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    #[track_caller]
    fn succeeds(&mut self) -> String {
        let (good, said) = self.said();
        assert!(good, "{self:?} failed: {said}");
        said
    }

    #[track_caller]
    fn fails(&mut self) -> String {
        let (good, said) = self.said();
        assert!(!good, "{self:?} succeeded: {said}");
        said
    }
}

/// Waits until the condition holds; says whether it did.
#[must_use]
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) -> bool {
    rig::wait_for_some(|| condition().then_some(()), PATIENCE).is_some()
}
