//! The modules that p11-kit is configured with: `NAME.module` files of `key: value` lines (pkcs11.conf(5)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Mode, library_folders};

/// More than such a file has.
const LONGEST: u64 = 64 * 1024;

type Values = BTreeMap<String, String>;

/// The modules of all folders; a file of the same name in a later folder changes single values.
pub(super) fn modules(mode: Mode, problems: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files: BTreeMap<String, Values> = BTreeMap::new();
    for folder in folders(mode) {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|e| e != "module") {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            match read(&path) {
                Ok(values) => files.entry(name).or_default().extend(values),
                Err(why) => problems.push(format!("{}: {why}; left out", path.display())),
            }
        }
    }
    let mut found = Vec::new();
    for (name, values) in files {
        match module(&values) {
            Ok(Some(path)) => found.push(path),
            Ok(None) => {}
            Err(why) => problems.push(format!("{name}: {why}; left out")),
        }
    }
    found
}

fn folders(mode: Mode) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = vec![
        "/usr/share/p11-kit/modules".into(),
        "/etc/pkcs11/modules".into(),
    ];
    if mode == Mode::User {
        let absolute = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let home = || absolute("HOME").map(|home| home.join(".config"));
        let own = absolute("XDG_CONFIG_HOME").or_else(home);
        folders.extend(own.map(|folder| folder.join("pkcs11/modules")));
    }
    folders
}

fn read(path: &Path) -> Result<Values, String> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Err("it is no file of at most 64 KiB".to_owned());
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|e| e.to_string())?;
    parse(&text)
}

/// The values of a file.
fn parse(text: &str) -> Result<Values, String> {
    let mut values = Values::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line
            .split_once(':')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| format!("line {number} is not NAME: VALUE"))?;
        values.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(values)
}

/// The module's file, unless it is not for this program or on another machine.
fn module(values: &Values) -> Result<Option<PathBuf>, String> {
    let names_us = |key: &str| {
        let list = values.get(key)?;
        let mut names = list.split([',', ' ', '\t']).filter(|name| !name.is_empty());
        Some(names.any(|name| name == "keyward"))
    };
    if names_us("disable-in") == Some(true) || names_us("enable-in") == Some(false) {
        return Ok(None);
    }
    let named = match values.get("module").map(String::as_str) {
        None | Some("") => return Ok(None),
        Some(named) => Path::new(named),
    };
    if named.is_absolute() {
        return match named.is_file() {
            true => Ok(Some(named.to_owned())),
            false => Err(format!("{} is not there", named.display())),
        };
    }
    // p11-kit looks in the folder that it was built with.
    let mut places = library_folders()
        .into_iter()
        .flat_map(|folder| [folder.join("pkcs11").join(named), folder.join(named)]);
    match places.find(|path| path.is_file()) {
        Some(path) => Ok(Some(path)),
        None => Err(format!("{} is in no folder of modules", named.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_comments_blanks_and_empty_values() {
        let text = "# a comment\n\n module: /a:b.so \r\nx-init-reserved:\n";
        let values = parse(text).unwrap();
        assert_eq!(values["module"], "/a:b.so");
        assert_eq!(values["x-init-reserved"], "");
    }

    #[test]
    fn a_line_that_is_none_is_an_error_with_its_number() {
        for text in ["\nmodule /a.so", "\n: /a.so", "\n\u{0}"] {
            assert!(parse(text).unwrap_err().contains("line 2"), "{text:?}");
        }
    }

    #[test]
    fn a_module_for_other_programs_is_left_out() {
        let is_left_out = |text: &str| module(&parse(text).unwrap()) == Ok(None);
        assert!(is_left_out(
            "module: /bin/sh\ndisable-in: p11-kit-proxy, keyward"
        ));
        assert!(is_left_out("module: /bin/sh\nenable-in: p11-kit-proxy"));
        assert!(is_left_out("remote: |ssh host p11-kit remote"));
        assert!(is_left_out("module:"));
        assert!(!is_left_out(
            "module: /bin/sh\nenable-in: p11-kit-proxy keyward"
        ));
        assert!(module(&parse("module: /no/such.so").unwrap()).is_err());
    }
}
