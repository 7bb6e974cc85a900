//! A command line that can't be understood, in the words that every other error has.

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::output::plain;

/// The option that stands before the command.
const WAIT: &str = "--wait";

/// Commands whose names suggest another form than they have, and the option that is meant.
const FORMS: [(&str, &str, &str); 2] = [
    ("keyward key tag", "--set", "NAME=VALUE"),
    ("keyward key alias", "--add", "NAME"),
];

/// Prints what clap has to say: help and version as they are, errors in the program's own form.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    let help = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == help {
        // Whoever does not read it to its end has had enough.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named = Named::of(&words);
    let mut text = text(&error.to_string(), &named);
    text.push_str(&format!("  hint: {}\n", plain(&named.hint(error))));
    let _ = std::io::stderr().write_all(text.as_bytes());
    Exit::Usage.into()
}

/// The error's lines without the empty ones and the tips, with the values of what is missing.
fn text(error: &str, named: &Named) -> String {
    let mut text = String::new();
    for line in error.lines().map(str::trim_end) {
        if line.trim_start().starts_with("tip: ") {
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            text.push_str(&format!("  usage: {}\n", plain(usage)));
        } else if !line.is_empty() && !line.starts_with("For more information") {
            let start = if line.starts_with("error: ") {
                "keyward: "
            } else {
                ""
            };
            text.push_str(&format!("{start}{}\n", plain(line)));
            if let Some(values) = named.values(line.trim()) {
                text.push_str(&format!("    [possible values: {values}]\n"));
            }
        }
    }
    text
}

/// The command of a command line.
struct Named {
    /// As much of the command line as names it.
    name: String,
    /// The word behind that, if it is no option.
    first: Option<String>,
    command: Command,
}

impl Named {
    fn of(words: &[String]) -> Self {
        let mut name = String::from("keyward");
        let mut command = Arguments::command();
        // Before that an argument can't say how it is shown.
        command.build();
        let waits = words.first().is_some_and(|word| word == WAIT);
        let mut words = words.iter().skip(if waits { 2 } else { 0 });
        let mut first = words.next();
        while let Some(found) = first.and_then(|word| command.find_subcommand(word)) {
            name.push(' ');
            name.push_str(found.get_name());
            command = found.clone();
            first = words.next();
        }
        let first = first.filter(|word| !word.starts_with('-')).cloned();
        Self {
            name,
            first,
            command,
        }
    }

    /// What to type next.
    fn hint(&self, error: &clap::Error) -> String {
        let unknown = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word,
            _ => "",
        };
        if unknown == WAIT {
            // It is the program's, and stands before the command.
            return format!(
                "keyward {WAIT} SECONDS{}",
                self.name.trim_start_matches("keyward")
            );
        }
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim);
        if let Some(tip) = lines.find_map(|line| line.strip_prefix("tip: ")) {
            return tip.to_owned();
        }
        match FORMS.iter().find(|(name, ..)| *name == self.name) {
            Some((name, option, value)) => {
                // What stands where nothing may stand was meant as the option's value.
                let typed = match (error.kind(), error.get(ContextKind::InvalidArg)) {
                    (ErrorKind::UnknownArgument, Some(ContextValue::String(word)))
                        if !word.starts_with('-') && word.contains('=') == value.contains('=') =>
                    {
                        word
                    }
                    _ => *value,
                };
                let first = self.first.as_deref().filter(|word| !word.contains('='));
                let key = first.unwrap_or("KEY");
                format!("{name} {key} {option} {typed}")
            }
            None => format!("{} --help", self.name),
        }
    }

    /// The values that an argument can have, by how clap shows the argument, if they can be listed.
    fn values(&self, argument: &str) -> Option<String> {
        let mut arguments = self.command.get_arguments();
        let found = arguments.find(|known| known.to_string() == argument)?;
        let values = found.get_possible_values();
        let shown = values.iter().filter(|value| !value.is_hide_set());
        let names: Vec<&str> = shown.map(|value| value.get_name()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_as_much_as_names_one() {
        let words = ["token", "unlock", "main", "sign"].map(String::from);
        let named = Named::of(&words);
        assert_eq!(named.name, "keyward token unlock");
        assert_eq!(named.first.as_deref(), Some("main"));
        assert_eq!(Named::of(&[]).name, "keyward");
        let words = ["--wait", "60", "sign", "web"].map(String::from);
        assert_eq!(Named::of(&words).name, "keyward sign");
    }

    #[test]
    fn an_error_has_one_hint_and_no_empty_lines() {
        let error = "error: what\n\n  tip: that\n\nUsage: keyward X\n\nFor more information, try '--help'.\n";
        assert_eq!(
            text(error, &Named::of(&[])),
            "keyward: error: what\n  usage: keyward X\n"
        );
    }
}
