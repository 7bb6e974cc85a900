//! `keyward doctor` and cards, with an agent and without one.

use std::fs;

use keyward_tests::{PATIENCE, wait_for};
use keyward_virtual_piv::{Card, Model, Rig};

use crate::doctor::{CONFIG, of};
use crate::init::Home;
use crate::init_piv::home;

/// A home with a configuration for that card.
fn configured(rig: &Rig, serial: u32) -> Home {
    let home = home(rig);
    fs::create_dir_all(home.path("home/.config/keyward")).unwrap();
    let section = format!(
        "[token.main]\nkind = \"piv\"\nserial = {serial}\nenvironment = {{ PCSCLITE_CSOCK_NAME = {:?} }}\n",
        rig.socket()
    );
    fs::write(home.path(CONFIG), section).unwrap();
    home
}

/// The first thing that it says of the token.
#[track_caller]
fn first(home: &Home) -> (String, String, String) {
    of(home, "token main").swap_remove(0)
}

#[test]
fn a_card_is_found_wanting_until_it_is_set_up() {
    let rig = Rig::start(1);
    let home = configured(&rig, 7);
    let (state, what, next) = first(&home);
    assert_eq!(state, "problem");
    assert!(
        what.contains("has no card") && next.contains("insert the card 7"),
        "{what}"
    );
    rig.insert(0, &Card::new(Model::YubiKey57, 8));
    let (_, what, next) = first(&home);
    assert!(what.contains("card 7 is not there, but: 8"), "{what}");
    assert!(next.contains("serial = 8"), "{next}");
    let card = Card::new(Model::YubiKey5, 7);
    rig.insert(0, &card);
    let found = of(&home, "token main");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1.contains("PIN, PUK, management key"), "{found:?}");
    assert!(found[0].2.contains("keyward token change-pin"), "{found:?}");
    // Its firmware is a word, and no problem.
    assert_eq!(found[1].0, "note");
    assert!(found[1].1.contains("CVE-2024-45678"), "{found:?}");
    assert_eq!(card.pin_tries(), 3);
    rig.kill();
    let (state, what, next) = first(&home);
    assert_eq!(state, "problem");
    assert!(what.contains("pcscd does not answer"), "{what}");
    assert!(next.contains("systemctl restart pcscd.socket"), "{next}");
}

#[test]
fn a_card_that_the_agent_has_is_told_by_the_agent() {
    let card = Card::new(Model::YubiKey57, 7);
    let rig = Rig::with(&card);
    let home = home(&rig);
    let puk = home.path("puk");
    let puk = puk.to_str().unwrap();
    let init = [
        "init",
        "--yes",
        "--name",
        "main",
        "--pin-file",
        "-",
        "--puk-file",
        puk,
    ];
    home.keyward_with(&init, b"735192\n");
    assert_eq!(first(&home).0, "ok");
    let _agent = home.start();
    let there = || first(&home).1 == "it is there, and needs its PIN";
    assert!(wait_for(there, PATIENCE));
    rig.remove(0);
    let gone = || first(&home).1.contains("has no card");
    assert!(wait_for(gone, PATIENCE));
}
