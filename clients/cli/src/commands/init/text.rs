//! What a person reads before and after.

use super::Ready;
use super::config::{EMULATED, Hardware, SOFTWARE};
use super::places::{Mode, Places};
use super::tpm::STORAGE_ROOT;
use super::worker::Replaced;
use crate::arguments::Init;
use crate::output::plain;

const USER_MODE: &str = "\
User mode: the agent runs as you.
  holds      other users can't use the keys, nor see them
  does not   your own programs can: one that is taken over can ask for signatures, and can change
             the agent's configuration and policy; rules about programs stop mistakes, not that
  for more   sudo keyward init --system
";

const SYSTEM_MODE: &str = "\
System mode: the agent runs as a user of its own, keyward.
  holds      who is not in the group keyward can't use the keys; configuration, policy and log are
             out of reach of users' programs
  does not   root can do everything; programs of one user are not told apart for certain
";

const HARDWARE: &str = "\
Hardware: the keys are made in the token and never leave it. Its PIN is not asked for now, and
nothing is written to it.
";

/// What is going to be done, and what it protects.
pub(super) fn plan(init: &Init, places: &Places, ready: &Ready, added: bool) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    rows.push((
        "token",
        match &ready.hardware {
            Hardware::Pkcs11 { module, .. } => {
                format!("{}, by {}", ready.shown, module.path.display())
            }
            Hardware::Tpm(_) | Hardware::Card(_) => ready.shown.clone(),
        },
    ));
    if let Hardware::Tpm(tpm) = &ready.hardware {
        rows.push(match tpm.found.identity {
            Some(_) => (
                "use",
                format!("the TPM's storage root key, which is at {STORAGE_ROOT}"),
            ),
            None => (
                "MAKE",
                format!(
                    "the TPM's storage root key at {STORAGE_ROOT}, a persistent object: it stays in the TPM, also after --undo"
                ),
            ),
        });
    }
    if let Hardware::Card(card) = &ready.hardware {
        rows.extend(card.rows(init));
        let file = ready.pin_file.iter();
        rows.extend(file.map(|file| ("make", format!("{}, with that PIN", file.display()))));
    }
    if let Some(new) = &ready.new {
        rows.push((
            "make",
            format!(
                "{} (only the agent's user may open it)",
                new.folder.display()
            ),
        ));
        match (&new.pin_file, &init.pin_file) {
            _ if init.no_pin => {}
            (Some(file), _) => rows.push((
                "make",
                format!("{}, with a PIN that nobody has to type", file.display()),
            )),
            (None, Some(file)) => rows.push((
                "read",
                format!("its PIN from {}", crate::io::name(Some(file))),
            )),
            (None, None) => rows.push(("ask", "for a PIN for it, twice".to_owned())),
        }
    }
    let config = places.config();
    rows.push(match added {
        true => (
            "add",
            format!("[token.{}] to {}", ready.name, config.display()),
        ),
        false => ("write", config.display().to_string()),
    });
    let record = places.record();
    rows.push((
        "note",
        format!(
            "in {} what was made, for keyward init --undo",
            record.display()
        ),
    ));
    let mut text = String::from("keyward init will set up\n");
    for (what, row) in rows {
        text.push_str(&format!("  {what:<6} {}\n", plain(&row)));
    }
    text.push('\n');
    match (&ready.hardware, ready.software) {
        (Hardware::Tpm(tpm), _) => text.push_str(&tpm.protection(!init.no_pin)),
        (Hardware::Card(card), _) => text.push_str(card.protection()),
        (_, true) => text.push_str(&format!("This token is {SOFTWARE}.\n")),
        (_, false) => text.push_str(HARDWARE),
    }
    if init.best_effort {
        text.push_str("--best-effort: processes may run less sealed; `keyward status` says what is missing.\n");
    }
    text.push('\n');
    text.push_str(match places.mode {
        Mode::User => USER_MODE,
        Mode::System => SYSTEM_MODE,
    });
    text
}

/// What to type next.
pub(super) fn next(
    init: &Init,
    places: &Places,
    ready: &Ready,
    replaced: Option<Replaced>,
) -> String {
    let name = &ready.name;
    let mut lines = Vec::new();
    match places.mode {
        Mode::System => {
            lines.push("sudo usermod -aG keyward YOU   # then log in anew".to_owned());
            lines.push("sudo systemctl enable --now keyward.socket".to_owned());
        }
        Mode::User => match &places.socket {
            Some(socket) => {
                lines.push("keywardd &".to_owned());
                lines.push(format!(
                    "export KEYWARD_SOCK={}   # there is no XDG_RUNTIME_DIR",
                    shell(&socket.to_string_lossy())
                ));
            }
            None if has_units() => {
                lines.push("systemctl --user enable --now keyward.socket".to_owned())
            }
            None => lines.push("keywardd &".to_owned()),
        },
    }
    if places.state.join("registry.db").exists() {
        lines.push(format!(
            "keyward token accept {name}   # if the agent knew another token by this name"
        ));
    }
    if ready.pin_file.is_none() && !init.no_pin {
        lines.push(format!("keyward unlock {name}"));
    }
    lines.push("keyward status".to_owned());
    lines.push(format!(
        "keyward key create demo --purpose sign --type p256 --token {name}"
    ));
    let kind = match (&ready.hardware, ready.software) {
        (_, false) => String::new(),
        (Hardware::Tpm(_), true) => format!(" ({EMULATED})"),
        (_, true) => format!(" ({SOFTWARE})"),
    };
    let undo = match places.mode {
        Mode::User => "keyward init --undo",
        Mode::System => "sudo keyward init --system --undo",
    };
    let mut text = replaced.map(on_the_card).unwrap_or_default();
    text.push_str(&format!(
        "\nToken {name} is set up{kind}.\nAn agent that runs reads it when it is started again. Next:\n"
    ));
    for line in lines {
        text.push_str(&format!("  {}\n", plain(&line)));
    }
    text.push_str(&format!("To take it back: {undo}\n"));
    text
}

/// What is new on the card.
fn on_the_card(replaced: Replaced) -> String {
    let parts = [
        (replaced.pin, "PIN"),
        (replaced.puk, "PUK"),
        (replaced.management_key, "management key"),
    ];
    let parts: Vec<&str> = (parts.into_iter())
        .filter_map(|(done, part)| done.then_some(part))
        .collect();
    match parts.as_slice() {
        [] => "\nNothing on the card was the factory's: it was left as it is.\n".to_owned(),
        parts => format!("\nNew on the card: {}.\n", parts.join(", ")),
    }
}

/// Whether a user's systemd knows keyward.
fn has_units() -> bool {
    let folders = ["/usr/lib", "/usr/local/lib", "/lib", "/etc"];
    folders.iter().any(|folder| {
        std::path::Path::new(folder)
            .join("systemd/user/keyward.socket")
            .exists()
    })
}

/// A word for a shell.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
