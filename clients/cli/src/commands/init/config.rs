//! What is written into `keyward.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use super::card::Card;
use super::modules::Module;
use super::places::{Mode, Places, program};
use super::tpm::Tpm;
use crate::error::Error;
use crate::exit::Exit;

/// A section `[token.NAME]`.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) hardware: &'a Hardware,
    pub(super) pin: Pin,
    pub(super) software: bool,
}

/// How a token is reached.
#[derive(Debug)]
pub(super) enum Hardware {
    /// A module, and which of its tokens.
    Pkcs11 {
        /// The module.
        module: Module,
        /// RFC 7512.
        uri: String,
    },
    /// A TPM.
    Tpm(Tpm),
    /// A PIV card.
    Card(Box<Card>),
}

/// Where a token's PIN comes from.
#[derive(Debug)]
pub(super) enum Pin {
    Ask,
    File(PathBuf),
    /// There is none.
    None,
}

/// What stands above a token in software.
pub(super) const SOFTWARE: &str =
    "software, not hardware: whoever can read the folder and knows the PIN has the keys";

/// What stands above a token of swtpm.
pub(super) const EMULATED: &str =
    "swtpm, which is software, not hardware: whoever has its state has the keys";

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
        match (self.software, self.hardware) {
            (true, Hardware::Pkcs11 { .. }) => text.push_str(&format!("# {SOFTWARE}\n")),
            (true, Hardware::Tpm(_)) => text.push_str(&format!("# {EMULATED}\n")),
            (false, _) | (true, Hardware::Card(_)) => {}
        }
        text.push_str(&format!("[token.{}]\n", self.name));
        text.push_str(&match self.hardware {
            Hardware::Pkcs11 { module, uri } => format!(
                "kind = \"pkcs11\"\nmodule = {}\nuri = {}\n",
                path(&module.path),
                quoted(uri)
            ),
            Hardware::Tpm(tpm) => format!("kind = \"tpm\"\ntcti = {}\n", quoted(&tpm.tcti)),
            Hardware::Card(card) => match card.serial() {
                Some(serial) => format!("kind = \"piv\"\nserial = {serial}\n"),
                None => {
                    "kind = \"piv\"\n# Whatever PIV card is there alone: it has no serial number.\n"
                        .to_owned()
                }
            },
        });
        text.push_str(&match &self.pin {
            Pin::File(file) => format!("pin = {{ file = {} }}\n", path(file)),
            Pin::Ask => "pin = \"ask\"\n".to_owned(),
            Pin::None => "# It has no PIN.\n".to_owned(),
        });
        let environment = match self.hardware {
            Hardware::Pkcs11 { module, .. } => &module.environment,
            Hardware::Card(card) => &card.environment,
            Hardware::Tpm(_) => return text,
        };
        if !environment.is_empty() {
            let variables: Vec<String> = (environment.iter())
                .map(|(name, value)| format!("{name} = {}", quoted(value)))
                .collect();
            text.push_str(&format!("environment = {{ {} }}\n", variables.join(", ")));
        }
        let Hardware::Pkcs11 { module, .. } = self.hardware else {
            return text;
        };
        if !module.read.is_empty() {
            text.push_str(&format!("read = {}\n", list(&module.read)));
        }
        if !module.write.is_empty() {
            text.push_str(&format!("write = {}\n", list(&module.write)));
        }
        if module.sockets != "none" {
            text.push_str(&format!("sockets = \"{}\"\n", module.sockets));
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

/// A name that the file has no token by yet: `wanted`, or with a number behind it.
pub(super) fn free_name(text: Option<&str>, wanted: &str) -> String {
    let table: Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let tokens = table.get("token").and_then(Value::as_table);
    let is_free = |name: &String| !tokens.is_some_and(|tokens| tokens.contains_key(name.as_str()));
    let numbered = (2..100).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names.find(is_free).unwrap_or_else(|| wanted.to_owned())
}

/// The token that the file has of a card already.
pub(super) fn token_of_card(text: Option<&str>, serial: Option<u32>) -> Option<String> {
    let table: Table = text?.parse().ok()?;
    let tokens = table.get("token")?.as_table()?;
    let wanted = serial.map(|serial| Value::Integer(serial.into()));
    let is_it = |token: &Value| {
        token.get("kind").and_then(Value::as_str) == Some("piv")
            && token.get("serial") == wanted.as_ref()
    };
    let mut names = tokens.iter().filter(|(_, token)| is_it(token));
    names.next().map(|(name, _)| name.clone())
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
        let uri = "pkcs11:token=a".to_owned();
        Section {
            name,
            hardware: &Hardware::Pkcs11 { module, uri },
            pin: Pin::File("/p".into()),
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
    fn a_name_that_is_taken_gets_a_number() {
        assert_eq!(free_name(None, "yubikey"), "yubikey");
        let there = "[token.yubikey]\nkind = 'piv'\nserial = 7\n[token.yubikey-2]\nkind = 'piv'";
        let of = |serial| token_of_card(Some(there), serial);
        assert_eq!(of(Some(7)).as_deref(), Some("yubikey"));
        assert_eq!(of(None).as_deref(), Some("yubikey-2"));
        assert_eq!(of(Some(8)), None);
        assert_eq!(token_of_card(None, Some(7)), None);
        assert_eq!(free_name(Some(there), "yubikey"), "yubikey-3");
        assert_eq!(free_name(Some(there), "card"), "card");
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
