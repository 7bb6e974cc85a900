//! What is written into `keyward.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use super::modules::Module;
use super::places::{Mode, Places, program};
use crate::error::Error;
use crate::exit::Exit;

/// A section `[token.NAME]`.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) module: &'a Module,
    pub(super) uri: String,
    pub(super) pin_file: Option<PathBuf>,
    pub(super) software: bool,
}

/// What stands above a token in software.
pub(super) const SOFTWARE: &str =
    "software, not hardware: whoever can read the folder and knows the PIN has the keys";

impl Section<'_> {
    /// The section's lines.
    pub(super) fn text(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let path = |path: &Path| quoted(&path.to_string_lossy());
        let list = |paths: &[PathBuf]| {
            let items: Vec<String> = paths.iter().map(|p| path(p)).collect();
            format!("[{}]", items.join(", "))
        };
        let mut text = String::new();
        if self.software {
            text.push_str(&format!("# {SOFTWARE}\n"));
        }
        text.push_str(&format!("[token.{}]\nkind = \"pkcs11\"\n", self.name));
        text.push_str(&format!("module = {}\n", path(&self.module.path)));
        text.push_str(&format!("uri = {}\n", quoted(&self.uri)));
        match &self.pin_file {
            Some(file) => text.push_str(&format!("pin = {{ file = {} }}\n", path(file))),
            None => text.push_str("pin = \"ask\"\n"),
        }
        if !self.module.environment.is_empty() {
            let variables: Vec<String> = (self.module.environment.iter())
                .map(|(name, value)| format!("{name} = {}", quoted(value)))
                .collect();
            text.push_str(&format!("environment = {{ {} }}\n", variables.join(", ")));
        }
        if !self.module.read.is_empty() {
            text.push_str(&format!("read = {}\n", list(&self.module.read)));
        }
        if !self.module.write.is_empty() {
            text.push_str(&format!("write = {}\n", list(&self.module.write)));
        }
        if self.module.sockets != "none" {
            text.push_str(&format!("sockets = \"{}\"\n", self.module.sockets));
        }
        text
    }
}

/// A whole file with one token.
pub(super) fn fresh(places: &Places, best_effort: bool, section: &str) -> String {
    let quoted = |path: &Path| Value::from(&*path.to_string_lossy()).to_string();
    let mut text =
        String::from("# Written by `keyward init`; keyward.toml(5) says what else there is.\n");
    if places.mode == Mode::System {
        text.push_str("mode = \"system\"\n");
    }
    if let Some(socket) = &places.socket {
        text.push_str(&format!("socket = {}\n", quoted(socket)));
    }
    if best_effort {
        text.push_str("sandbox = \"best-effort\"\n");
    }
    if places.mode == Mode::System {
        text.push_str("\n[policy]\nallow = [{ group = \"keyward\" }]\n");
    }
    format!("{text}\n{section}")
}

/// The file that is there, as it is, with a section behind it.
pub(super) fn added(path: &Path, text: &str, name: &str, section: &str) -> Result<String, Error> {
    let shown = path.display();
    let there: Table = text.parse().map_err(|e: toml::de::Error| {
        let what = format!("{shown} is not right as it is");
        Error::usage(what)
            .cause(e.message())
            .hint(format!("keywardd --check --config {shown}"))
    })?;
    let tokens = there.get("token").and_then(Value::as_table);
    if tokens.is_some_and(|tokens| tokens.contains_key(name)) {
        return Err(
            Error::usage(format!("{shown} has a token {name} already")).hint("--name OTHER")
        );
    }
    let gap = if text.is_empty() || text.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    let whole = format!("{text}{gap}{section}");
    match whole.parse::<Table>() {
        Ok(_) => Ok(whole),
        Err(e) => Err(Error::usage(format!("a section can't be added to {shown}"))
            .cause(e.message())
            .hint("write its tokens as [token.NAME] sections first")),
    }
}

/// Has keywardd check a file; nothing where there is no keywardd.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    let Some(keywardd) = program("keywardd") else {
        return Ok(());
    };
    let fault = |what: String| {
        Error::new(Exit::Fault, "keywardd refuses the new configuration").cause(what)
    };
    let output = Command::new(keywardd)
        .args(["--check", "--config"])
        .arg(path)
        .output()
        .map_err(|e| fault(e.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(fault(
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .replace('\n', "; "),
        )),
    }
}

/// A token's name goes into file names and command lines; these are keywardd's rules.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.len() <= 32
        && name.starts_with(lower)
        && name.chars().all(|c| lower(c) || c == '_' || c == '-');
    match good {
        true => Ok(()),
        false => Err(Error::usage("--name is no name for a token")
            .hint("1 to 32 of a-z, 0-9, _ and -, and a letter or digit first")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn section(name: &str) -> String {
        let mut module = Module::at(Path::new("/opt/a \"b\".so"));
        module
            .environment
            .insert("CONF".to_owned(), "/é".to_owned());
        Section {
            name,
            module: &module,
            uri: "pkcs11:token=a".to_owned(),
            pin_file: Some("/p".into()),
            software: true,
        }
        .text()
    }

    #[test]
    fn a_section_is_toml_whatever_the_paths_are() {
        let table: Table = section("main").parse().unwrap();
        let token = &table["token"]["main"];
        assert_eq!(token["module"].as_str(), Some("/opt/a \"b\".so"));
        assert_eq!(token["environment"]["CONF"].as_str(), Some("/é"));
        assert_eq!(token["sockets"].as_str(), Some("unix"));
    }

    #[test]
    fn what_is_there_is_kept_and_a_name_is_not_taken_twice() {
        let there = "# mine\nmode = \"user\"\n[token.main]\nkind = 'pkcs11'";
        let path = Path::new("/k");
        let whole = added(path, there, "spare", &section("spare")).unwrap();
        assert!(whole.starts_with(there));
        assert!(added(path, there, "main", &section("main")).is_err());
        assert!(added(path, "token = {}", "main", &section("main")).is_err());
        assert!(added(path, "no toml", "main", &section("main")).is_err());
        assert!(added(path, "", "main", &section("main")).is_ok());
    }
}
