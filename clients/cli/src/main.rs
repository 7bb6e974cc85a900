//! `keyward`: the command line of the keyward agent.
#![forbid(unsafe_code)]

mod agent;
mod arguments;
mod commands;
mod completion;
mod destination;
mod error;
mod exit;
mod hex;
mod io;
mod output;
mod pin;
mod progress;
mod signals;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;

fn main() -> ExitCode {
    if let Some(ended) = completion::answer() {
        return ended;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::report(&error),
    };
    agent::wait_for_tokens(arguments.wait);
    match commands::run(arguments.command) {
        Ok(()) => exit::Exit::Success.into(),
        Err(error) => {
            error.print();
            error.exit.into()
        }
    }
}
