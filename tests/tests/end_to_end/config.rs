//! A configuration that is wrong stops keywardd with the place of the mistake.

use std::{fs, os::unix::fs::PermissionsExt};

use keyward_tests::{Setup, Site, process::run_with};

/// Starts keywardd, which must refuse; what it says.
#[track_caller]
fn refusal(site: &Site) -> String {
    let output = run_with(&mut site.keywardd(), b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("keywardd: error: "), "{stderr}");
    assert!(!site.socket().exists());
    stderr
}

#[test]
fn an_unknown_field_is_shown_with_its_line_its_column_and_a_caret() {
    let site = Setup::new().line("sokcet = 1").build();
    let said = refusal(&site);
    let place = format!("{}:4:1: ", site.config().display());
    assert!(said.contains(&place), "{said}");
    assert!(said.contains("\n4 | sokcet = 1\n  | ^^^^^^\n"), "{said}");
    assert!(said.contains("hint: did you mean `socket`?"), "{said}");
}

#[test]
fn a_value_out_of_its_bounds_is_shown_in_its_place() {
    let site = Setup::new().section("[limits]\nframe = \"3 days\"").build();
    let said = refusal(&site);
    assert!(said.contains("frame = \"3 days\"\n"), "{said}");
    assert!(said.contains("^^^^^^^^"), "{said}");
    assert!(said.contains("hint: "), "{said}");
}

#[test]
fn a_pin_in_the_configuration_is_refused_and_not_repeated() {
    let site = Setup::new().build();
    let pin = format!("pin = {{ file = {:?} }}", site.pin_file("main"));
    site.edit_config(&pin, "pin = \"13572468\"");
    let said = refusal(&site);
    assert!(!said.contains("13572468"), "{said}");
    assert!(said.contains("****"), "{said}");
    assert!(said.contains("hint: pin = "), "{said}");
}

#[test]
fn a_module_that_is_not_there_is_said_before_anything_starts() {
    let site = Setup::new().build();
    let module = format!("module = {:?}", site.hsm("main").module());
    site.edit_config(&module, "module = \"/nowhere/module.so\"");
    let said = refusal(&site);
    assert!(said.contains("/nowhere/module.so"), "{said}");
}

#[test]
fn a_configuration_that_everybody_can_write_is_refused() {
    let site = Setup::new().build();
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o666)).unwrap();
    let said = refusal(&site);
    assert!(said.contains("hint: chmod go-w"), "{said}");
}

#[test]
fn check_says_whether_a_configuration_is_right_and_starts_nothing() {
    let site = Setup::new().build();
    let output = run_with(site.keywardd().arg("--check"), b"");
    assert!(output.status.success());
    assert!(!site.state().exists());
    fs::write(site.config(), "token = 1\n").unwrap();
    let output = run_with(site.keywardd().arg("--check"), b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(":1:9: "));
}

#[test]
fn a_state_folder_that_others_can_read_is_refused() {
    let site = Setup::new().build();
    fs::create_dir(site.state()).unwrap();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o755)).unwrap();
    let said = refusal(&site);
    assert!(said.contains("755"), "{said}");
}
