//! All that is in the card and around it, under one lock.

use std::collections::BTreeMap;
use std::time::Instant;

use super::apdu::Command;
use super::applet::{self, Applet};
use super::chain::{Accepted, Chain, Whole};
use super::model::Model;
use super::piv::Piv;
use super::scene::{Exchange, Scene};
use super::status::Status;
use super::{Reply, TouchNeed};

const SELECT: u8 = 0xa4;
const VERIFY: u8 = 0x20;

pub(super) struct State {
    pub(super) piv: Piv,
    pub(super) scene: Scene,
    pub(super) counts: BTreeMap<u8, u64>,
    pub(super) log: Vec<Exchange>,
    applet: Option<Applet>,
    chain: Chain,
    touched: Option<Instant>,
    /// Which insertion the card is in a reader by.
    inserted: Option<u64>,
    insertions: u64,
    /// It changes whenever what is under way is lost.
    epoch: u64,
    busy: bool,
}

/// How far a command has come.
pub(super) enum Begun {
    Answered(Vec<u8>),
    Pulled,
    Whole(Whole),
}

impl State {
    pub(super) fn new(model: Model, serial: u32) -> Self {
        Self {
            piv: Piv::new(model, serial),
            scene: Scene::new(),
            counts: BTreeMap::new(),
            log: Vec::new(),
            applet: None,
            chain: Chain::default(),
            touched: None,
            inserted: None,
            insertions: 0,
            epoch: 0,
            busy: false,
        }
    }

    pub(super) fn power(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.busy = false;
        self.scene.blinking = false;
        self.applet = None;
        self.chain = Chain::default();
        self.touched = None;
        self.piv.end_session();
    }

    pub(super) fn insert(&mut self) -> u64 {
        self.power();
        self.insertions = self.insertions.saturating_add(1);
        self.inserted = Some(self.insertions);
        self.insertions
    }

    pub(super) fn remove(&mut self) {
        self.power();
        self.inserted = None;
    }

    pub(super) fn is_in(&self, insertion: u64) -> bool {
        self.inserted == Some(insertion)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn idle(&mut self) {
        self.busy = false;
    }

    pub(super) fn begin(&mut self, command: &Command<'_>) -> Begun {
        let instruction = command.instruction;
        if !command.is_chained() {
            let count = self.counts.entry(instruction).or_default();
            *count = count.saturating_add(1);
        }
        if self.scene.pull_at == Some(instruction) {
            self.scene.pull_at = None;
            self.remove();
            return Begun::Pulled;
        }
        match self.chain.accept(command) {
            Accepted::Answered(answer) => Begun::Answered(answer),
            Accepted::Whole(whole) => {
                self.busy = true;
                Begun::Whole(whole)
            }
        }
    }

    /// Begins to blink if the command needs a touch.
    pub(super) fn blink_for(&mut self, command: &Whole) -> bool {
        if self.applet != Some(Applet::Piv) {
            return false;
        }
        let cached = self
            .touched
            .is_some_and(|touched| touched.elapsed() < self.scene.touch_cache);
        let blinks = match self.piv.touch_need(command) {
            TouchNeed::None => false,
            TouchNeed::Fresh => true,
            TouchNeed::Cached => !cached,
        };
        if blinks {
            self.scene.begin_to_blink();
        }
        blinks
    }

    pub(super) fn stop_blinking(&mut self, touched: bool) {
        self.scene.blinking = false;
        if touched {
            self.touched = Some(Instant::now());
        }
    }

    /// Does the command, unless the touch that it needed was missed. `None` if the card is pulled.
    pub(super) fn finish(&mut self, command: &Whole, touched: bool) -> Option<Vec<u8>> {
        if let Some(raw) = self.scene.take_answer(command.instruction) {
            self.write(command, raw.len(), None);
            return Some(raw);
        }
        let reply = if touched {
            self.command(command)
        } else {
            self.piv.pin_fresh = false;
            Err(Status::SECURITY_STATUS_NOT_SATISFIED)
        };
        let (length, status) = match &reply {
            Ok(data) => (data.len(), Status::OK),
            Err(status) => (0, *status),
        };
        let has_pin = command.instruction == VERIFY && !command.data.is_empty();
        if self.scene.pull_after == Some(command.instruction)
            || (self.scene.pull_after_pin && has_pin)
        {
            self.scene.pull_after = None;
            self.scene.pull_after_pin = false;
            self.write(command, 0, None);
            self.remove();
            return None;
        }
        self.write(command, length, Some(status.0));
        Some(self.chain.answer(reply, command.expected))
    }

    fn command(&mut self, command: &Whole) -> Reply {
        match (command.instruction, self.applet) {
            (SELECT, _) => self.select(command),
            (_, Some(Applet::Piv)) => self.piv.command(command),
            (_, Some(other)) => applet::command(other, self.piv.model, self.piv.serial, command),
            (_, None) => Err(Status::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    /// SELECT by name. An application that the card does not have changes nothing, nor does the one
    /// that is selected already (SP 800-73-4 Part 2 §3.1.1).
    fn select(&mut self, command: &Whole) -> Reply {
        if command.p1 != 0x04 {
            return Err(Status::WRONG_PARAMETERS);
        }
        let applet = Applet::find(&command.data, self.piv.model).ok_or(Status::NOT_FOUND)?;
        if self.applet != Some(applet) {
            self.piv.end_session();
            self.applet = Some(applet);
        }
        Ok(applet.selected(self.piv.model))
    }

    fn write(&mut self, command: &Whole, received: usize, status: Option<u16>) {
        self.log.push(Exchange {
            instruction: command.instruction,
            p1: command.p1,
            p2: command.p2,
            sent: command.data.len(),
            received,
            status,
        });
    }
}
