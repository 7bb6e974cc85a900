//! What is done to which commands.

/// What is done to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Answer with a response code; the TPM does not see the command.
    Answer(u32),
    /// End the connection; the TPM does not see the command.
    Lose,
    /// End the connection after the TPM has done it.
    LoseAnswer,
}

#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// The codes that are held back; `None`: none are, empty: all are.
    hold: Option<Vec<u32>>,
    held: usize,
    acted: usize,
}

#[derive(Debug)]
struct Rule {
    code: u32,
    /// How many pass before it.
    skip: usize,
    act: Act,
    always: bool,
}

impl Rules {
    pub(super) fn add(&mut self, code: u32, skip: usize, act: Act, always: bool) {
        self.rules.push(Rule {
            code,
            skip,
            act,
            always,
        });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What is to be done to a command that comes now.
    pub(super) fn act(&mut self, code: u32) -> Option<Act> {
        let mut found = None;
        for (at, rule) in self.rules.iter_mut().enumerate() {
            if rule.code != code {
                continue;
            }
            match rule.skip.checked_sub(1) {
                Some(left) => rule.skip = left,
                None if found.is_none() => found = Some((at, rule.act, rule.always)),
                None => {}
            }
        }
        let (at, act, always) = found?;
        if !always {
            self.rules.remove(at);
        }
        self.acted = self.acted.saturating_add(1);
        Some(act)
    }

    pub(super) fn acted(&self) -> usize {
        self.acted
    }

    pub(super) fn hold(&mut self, codes: &[u32]) {
        self.hold = Some(codes.to_vec());
    }

    pub(super) fn release(&mut self) {
        self.hold = None;
    }

    pub(super) fn holds(&self, code: u32) -> bool {
        let hold = self.hold.as_ref();
        hold.is_some_and(|codes| codes.is_empty() || codes.contains(&code))
    }

    pub(super) fn enter(&mut self) {
        self.held = self.held.saturating_add(1);
    }

    pub(super) fn leave(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }
}
