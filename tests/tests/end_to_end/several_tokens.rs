//! Several tokens at once: of one module in folders of their own, and of one folder.

use std::thread;

use keyward_client::protocol::{
    ErrorCode, KeyType, Purpose,
    operation::{Create, LoginState},
};
use keyward_tests::{
    Daemon, Fault, Setup, TokenSetup,
    request::{create, refused, sign},
};

fn create_on(daemon: &Daemon, alias: &str, token: &str) {
    let made = daemon.client().call(Create {
        token: Some(token.into()),
        ..create(alias, Purpose::Sign, KeyType::P256)
    });
    let key = made.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()));
    assert_eq!(key.versions[0].placements[0].token, token);
}

/// Signs with each key from a thread of its own.
fn sign_at_once(daemon: &Daemon, keys: &[&str]) {
    thread::scope(|scope| {
        for key in keys {
            scope.spawn(move || {
                let mut client = daemon.client();
                for _ in 0..50 {
                    client.call(sign(key, b"message")).expect("a signature");
                }
            });
        }
    });
}

#[test]
fn two_tokens_in_folders_of_their_own_serve_at_once() {
    let setup = Setup::new()
        .token(TokenSetup::new("main").fault())
        .token(TokenSetup::new("spare"));
    let daemon = Daemon::start(setup);
    create_on(&daemon, "a", "main");
    create_on(&daemon, "b", "spare");
    let unnamed = refused(
        daemon
            .client()
            .call(create("c", Purpose::Sign, KeyType::P256)),
    );
    assert_eq!(unnamed.code, ErrorCode::Invalid, "{unnamed}");
    let hint = unnamed.hint.as_deref();
    assert_eq!(hint, Some("--token main  or  --token spare"));
    sign_at_once(&daemon, &["a", "b"]);
    // One that hangs is not waited for by the other.
    daemon.fault("main").set("C_Sign", &Fault::Hang);
    let mut hung = daemon.client();
    let ticket = hung.submit(sign("a", b"message")).unwrap();
    hung.flush().unwrap();
    sign_at_once(&daemon, &["b"]);
    daemon.fault("main").clear("C_Sign");
    hung.wait(ticket).unwrap();
}

#[test]
fn two_tokens_of_one_folder_serve_at_once() {
    let site = Setup::new().token(TokenSetup::new("main")).build();
    site.hsm("main").add_token("second", "24682468");
    let pin = site.pin_file("second");
    keyward_tests::site::write_private(&pin, "24682468");
    let hsm = site.hsm("main");
    let config = std::fs::read_to_string(site.config()).unwrap();
    let table = format!(
        "[token.second]\nkind = \"pkcs11\"\nmodule = {:?}\nuri = \"pkcs11:token=second\"\npin = {{ file = {pin:?} }}\n\
         read = [{:?}]\nwrite = [{:?}]\n[token.second.environment]\nSOFTHSM2_CONF = {:?}\n",
        hsm.module(),
        hsm.conf(),
        hsm.token_dir(),
        hsm.conf(),
    );
    std::fs::write(site.config(), format!("{config}\n{table}")).unwrap();
    let daemon = Daemon::start_on(site);
    for token in ["main", "second"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    create_on(&daemon, "a", "main");
    create_on(&daemon, "b", "second");
    sign_at_once(&daemon, &["a", "b"]);
    let identity = |token| daemon.token(token).identity;
    assert_ne!(identity("main"), identity("second"));
}
