//! docs/virtual-piv.md: what it asks to be checked is what its list of checks has.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// What the card does, and the list of checks.
fn page() -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/virtual-piv.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (behaviours, list) = page.split_once("## Checks for real hardware").unwrap();
    (behaviours.to_owned(), list.to_owned())
}

/// The ids of checks in a text.
fn ids(text: &str) -> BTreeSet<String> {
    let ids = text.split("HW-").skip(1);
    ids.map(|id| id.chars().take(2).collect()).collect()
}

#[test]
fn every_check_that_a_behaviour_names_is_in_the_list_and_every_one_there_is_named() {
    let (behaviours, list) = page();
    assert_eq!(ids(&behaviours), ids(&list));
    let rows: Vec<&str> = list
        .lines()
        .filter(|line| line.starts_with("| HW-"))
        .collect();
    assert_eq!(rows.len(), ids(&list).len(), "one row for each");
    assert!(rows.len() > 30);
    for (row, number) in rows.iter().zip(1..) {
        assert!(row.starts_with(&format!("| HW-{number:02} |")), "{row}");
    }
}

#[test]
fn every_guess_has_a_check() {
    let (behaviours, _) = page();
    let mut guesses = 0;
    for row in behaviours.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        if let [_, from, check] = cells.as_slice()
            && (from.starts_with("G") || from.contains(" G "))
        {
            guesses += 1;
            assert!(check.contains("HW-"), "{row}");
        }
    }
    assert!(guesses > 15, "{guesses}");
}
