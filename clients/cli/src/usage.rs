//! A command line that can't be understood, in the words that every other error has.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::output::plain;

/// Prints what clap has to say: help and version as they are, errors in the program's own form.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    let help = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == help {
        // Whoever does not read it to its end has had enough.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
    }
    let text = text(&error.to_string(), &command(std::env::args().skip(1)));
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Usage.into()
}

/// The error's lines without the empty ones, and one hint.
fn text(error: &str, command: &str) -> String {
    let mut text = String::new();
    let mut hint = format!("{command} --help");
    for line in error.lines().map(str::trim_end) {
        if let Some(tip) = line.trim_start().strip_prefix("tip: ") {
            hint = tip.to_owned();
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            text.push_str(&format!("  usage: {}\n", plain(usage)));
        } else if !line.is_empty() && !line.starts_with("For more information") {
            let start = if line.starts_with("error: ") {
                "keyward: "
            } else {
                ""
            };
            text.push_str(&format!("{start}{}\n", plain(line)));
        }
    }
    text.push_str(&format!("  hint: {}\n", plain(&hint)));
    text
}

/// As much of the command line as names a command.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut name = String::from("keyward");
    let mut command = &Arguments::command();
    for word in words {
        match command.find_subcommand(&word) {
            Some(found) => command = found,
            None => break,
        }
        name.push(' ');
        name.push_str(&word);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_command_that_was_meant() {
        let words = ["token", "unlock", "main", "sign"].map(String::from);
        assert_eq!(command(words.into_iter()), "keyward token unlock");
        assert_eq!(command(std::iter::empty()), "keyward");
    }

    #[test]
    fn a_tip_is_a_better_hint() {
        let error = "error: what\n\n  tip: that\n\nUsage: keyward X\n\nFor more information, try '--help'.\n";
        assert_eq!(
            text(error, "keyward"),
            "keyward: error: what\n  usage: keyward X\n  hint: that\n"
        );
    }
}
