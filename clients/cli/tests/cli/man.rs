//! The manual pages of `docs/man`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::KEYWARD;

#[test]
fn the_manual_pages_are_those_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(KEYWARD).arg("man").arg(folder.path()).status();
    assert!(status.unwrap().success());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man");
    let (made, committed) = (pages(folder.path()), pages(&committed));
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    let mend = "cargo run -p keyward -- man docs/man";
    assert_eq!(names(&made), names(&committed), "{mend}");
    for (name, page) in made {
        assert!(page == committed[&name], "{name} is out of date: {mend}");
    }
}

/// The pages of this program: `keyward.1` and `keyward-….1`.
fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter_map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let ours = name == "keyward.1" || name.starts_with("keyward-") && name.ends_with(".1");
            ours.then(|| (name, std::fs::read_to_string(&path).unwrap()))
        })
        .collect()
}
