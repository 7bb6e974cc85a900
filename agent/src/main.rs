//! `keywardd`: the agent. Everything is in the library; this reads the command line.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keyward_agent::config::Config;
use keyward_agent::{daemon, monitor};

/// The agent of keyward: lets the programs of this machine use hardware keys, decides who may, and
/// keeps the log.
#[derive(Parser)]
#[command(name = "keywardd", version, max_term_width = 100)]
struct Arguments {
    /// The configuration; by default that of the user, or /etc/keyward/keyward.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration, say whether it is right, and end.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Started by keywardd itself.
    #[command(hide = true)]
    Monitor {
        #[arg(long)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Monitor { config }) = arguments.command {
        return match monitor::run(&config) {
            monitor::End::AgentGone => ExitCode::SUCCESS,
            failed => fail(&failed),
        };
    }
    let path = arguments.config.unwrap_or_else(Config::default_path);
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if arguments.check {
        println!("{} is right", path.display());
        return ExitCode::SUCCESS;
    }
    tracing_subscriber::fmt()
        .with_max_level(config.log)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    match daemon::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("keywardd: error: {error}");
    ExitCode::FAILURE
}
