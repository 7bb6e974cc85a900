//! `virtual-piv`: virtual PIV cards for whoever wants to try a client by hand.

use std::{
    io::{self, BufRead as _, Write as _},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Parser;
use keyward_virtual_piv::{Card, Model, Rig, Touch, rig};

const ABOUT: &str = "Virtual PIV cards in the readers of a pcscd of their own";

const EXPLANATION: &str = "\
Prints the environment that clients need, then reads commands until its input ends:

  insert [READER]      put the reader's card in (readers count from 0)
  remove [READER]      pull it
  touch at-once|never|by-hand|MILLISECONDS
                       when somebody touches a card that blinks
  press                touch it now
  delay MILLISECONDS   how long each command takes, besides
  pull-at INSTRUCTION  pull it when such a command comes (hexadecimal, such as 87)
  pull-after INSTRUCTION
                       have it do such a command, then pull it before the answer
  status               what is in the readers
  log                  what commands the cards had, without their data
  kill, restart        pcscd
  quit

What is said of touches and commands is said to all cards.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "virtual-piv", about = ABOUT, after_help = EXPLANATION)]
struct Arguments {
    /// A card for a reader of its own: 4.3, 5.4, 5.7 or generic, and a serial number
    #[arg(long = "card", value_name = "MODEL[:SERIAL]", default_value = "5.7")]
    cards: Vec<Described>,
}

#[derive(Clone, Copy, Debug)]
struct Described {
    model: Model,
    serial: u32,
}

impl FromStr for Described {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, serial) = text.split_once(':').unwrap_or((text, "12345678"));
        let model = match model {
            "4.3" => Model::YubiKey4,
            "5.4" => Model::YubiKey5,
            "5.7" => Model::YubiKey57,
            "generic" => Model::Generic,
            other => {
                return Err(format!(
                    "there is no model {other}, but 4.3, 5.4, 5.7, generic"
                ));
            }
        };
        let serial = serial
            .parse()
            .map_err(|_| format!("{serial} is not a serial number; such as 12345678"))?;
        Ok(Self { model, serial })
    }
}

fn main() -> ExitCode {
    let cards: Vec<Card> = Arguments::parse()
        .cards
        .iter()
        .map(|card| Card::new(card.model, card.serial))
        .collect();
    let names: Vec<&str> = cards.iter().map(rig::reader_for).collect();
    let rig = Rig::with_readers(&names);
    for (reader, card) in cards.iter().enumerate() {
        rig.insert(reader, card);
    }
    match converse(&rig, &cards) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtual-piv: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn converse(rig: &Rig, cards: &[Card]) -> io::Result<()> {
    let mut out = io::stdout();
    for (name, value) in rig.environment() {
        writeln!(out, "export {name}={value}")?;
    }
    out.flush()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            break;
        }
        match obey(rig, cards, &words) {
            Ok(said) => writeln!(out, "{said}")?,
            Err(wrong) => writeln!(out, "error: {wrong}")?,
        }
        out.flush()?;
    }
    Ok(())
}

/// Does a command, and gives what there is to say.
fn obey(rig: &Rig, cards: &[Card], words: &[&str]) -> Result<String, String> {
    match *words {
        [] => return Ok(String::new()),
        ["insert", ref reader @ ..] => {
            let (reader, card) = named(cards, reader)?;
            rig.insert(reader, card);
        }
        ["remove", ref reader @ ..] => rig.remove(named(cards, reader)?.0),
        ["touch", when] => {
            let touch = touch(when)?;
            cards.iter().for_each(|card| card.touch(touch));
        }
        ["press"] => cards.iter().for_each(Card::press),
        ["delay", time] => {
            let time = milliseconds(time)?;
            cards.iter().for_each(|card| card.delay(time));
        }
        ["pull-at", code] => {
            let code = instruction(code)?;
            cards.iter().for_each(|card| card.pull_at(code));
        }
        ["pull-after", code] => {
            let code = instruction(code)?;
            cards.iter().for_each(|card| card.pull_after(code));
        }
        ["kill"] => rig.kill(),
        ["restart"] => rig.restart(),
        ["status"] => return Ok(status(rig, cards)),
        ["log"] => return Ok(log(cards)),
        _ => {
            let said = words.join(" ");
            return Err(format!("`{said}` is no command; see virtual-piv --help"));
        }
    }
    Ok("ok".to_owned())
}

fn named<'a>(cards: &'a [Card], reader: &[&str]) -> Result<(usize, &'a Card), String> {
    let number = match *reader {
        [] => 0,
        [number] => number
            .parse()
            .map_err(|_| format!("{number} is not a reader"))?,
        _ => return Err("one reader, please".to_owned()),
    };
    let card = cards.get(number);
    let card = card.ok_or_else(|| format!("there is no reader {number}"))?;
    Ok((number, card))
}

fn touch(when: &str) -> Result<Touch, String> {
    Ok(match when {
        "at-once" => Touch::AtOnce,
        "never" => Touch::Never,
        "by-hand" => Touch::ByHand,
        time => Touch::After(milliseconds(time)?),
    })
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().map(Duration::from_millis);
    number.map_err(|_| format!("{text} is not a number of milliseconds"))
}

fn instruction(text: &str) -> Result<u8, String> {
    let code = u8::from_str_radix(text, 16);
    code.map_err(|_| format!("{text} is not an instruction in hexadecimal, such as 87"))
}

fn status(rig: &Rig, cards: &[Card]) -> String {
    let state = |(reader, card): (usize, &Card)| {
        let place = match (rig.is_present(reader), card.is_blinking()) {
            (_, true) => "in the reader, blinks",
            (true, false) => "in the reader",
            (false, false) => "not in the reader",
        };
        let (model, serial) = (card.model(), card.serial());
        format!("{reader}: {model:?} {serial}: {place}")
    };
    cards
        .iter()
        .enumerate()
        .map(state)
        .collect::<Vec<_>>()
        .join("\n")
}

fn log(cards: &[Card]) -> String {
    let exchanges = cards.iter().flat_map(|card| {
        let serial = card.serial();
        (card.log().into_iter()).map(move |exchange| format!("{serial}: {exchange:?}"))
    });
    exchanges.collect::<Vec<_>>().join("\n")
}
