//! Files as people write them, and the errors that they get.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mistakes;
mod tpm;

use std::path::{Path, PathBuf};

use super::*;

/// A file in a folder of its own, and an environment that owes nothing to this process.
struct Case {
    folder: tempfile::TempDir,
    environment: Environment,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("module.so"), b"").unwrap();
        let environment = Environment {
            runtime_dir: Some(PathBuf::from("/run/user/7")),
            state_home: Some(PathBuf::from("/home/ada/.local/state")),
            config_home: Some(folder.path().join("config")),
            credentials: Some(PathBuf::from("/run/credentials/keywardd.service")),
            processors: 8,
        };
        Self {
            folder,
            environment,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keyward.toml")
    }

    /// Loads a text; `MODULE` stands for a file that exists.
    fn load(&self, text: &str) -> Result<Config, ConfigError> {
        let module = self.folder.path().join("module.so");
        let text = text.replace("MODULE", module.to_str().unwrap());
        std::fs::write(self.path(), text).unwrap();
        Config::load_in(&self.path(), &self.environment)
    }

    fn mistake(&self, text: &str) -> Mistake {
        match self.load(text).expect_err(text) {
            ConfigError::Mistake(mistake) => *mistake,
            other => panic!("{text}: {other}"),
        }
    }
}

const TOKEN: &str =
    "[token.main]\nkind = \"pkcs11\"\nmodule = \"MODULE\"\nuri = \"pkcs11:token=demo\"\n";

#[test]
fn an_empty_file_is_a_users_agent_without_tokens() {
    let config = Case::new().load("").unwrap();
    assert_eq!(config.mode, Mode::User);
    assert_eq!(config.socket, Path::new("/run/user/7/keyward/agent.sock"));
    assert_eq!(config.state, Path::new("/home/ada/.local/state/keyward"));
    assert_eq!(config.sandbox, Requirement::Enforce);
    assert_eq!(config.log, LevelFilter::INFO);
    assert!(config.tokens.is_empty() && config.allow.is_empty());
    assert!(config.limits.connections_per_user > 1000);
}

#[test]
fn a_token_gets_defaults_that_serve() {
    let case = Case::new();
    let config = case.load(TOKEN).unwrap();
    let token = config.tokens.get("main").unwrap();
    assert_eq!(token.kind.name(), "pkcs11");
    assert_eq!(token.pin, PinSource::Ask);
    assert_eq!(token.threads, 4);
    assert_eq!(token.spin, Duration::ZERO);
    assert_eq!(token.timeout, Duration::from_secs(30));
    assert!(!token.remember_pin);
    assert_eq!(token.sockets, SocketKinds::None);
}

#[test]
fn a_whole_file_is_read_as_it_stands() {
    let text = r#"
mode = "system"
socket = "/run/x/agent.sock"
state = "/var/x"
sandbox = "best-effort"
log = "debug"
[policy]
allow = [{ uid = 1000 }, { group = "root" }, { gid = 12 }, { unit = "web.service" }]
[limits]
connections = 10
queue = 4
deadline = "500ms"
max_deadline = "1m"
[token.main]
kind = "pkcs11"
module = "MODULE"
uri = "pkcs11:token=My%20Token;serial=0123"
pin = { file = "/etc/pin" }
remember_pin = true
threads = 2
spin = "0s"
timeout = "5m"
environment = { SOFTHSM2_CONF = "/x/softhsm2.conf" }
read = ["/etc/softhsm"]
write = ["/var/lib/softhsm/tokens"]
sockets = "inet"
[token.spare]
kind = "pkcs11"
module = "MODULE"
uri = "pkcs11:slot-id=3"
pin = { credential = "spare" }
"#;
    let config = Case::new().load(text).unwrap();
    let unit = Allow::Unit("web.service".to_owned());
    assert_eq!(
        config.allow,
        [Allow::Uid(1000), Allow::Gid(0), Allow::Gid(12), unit]
    );
    // What was not named gives way to what was.
    assert_eq!(config.limits.connections_per_user, 10);
    assert_eq!(config.limits.queue_per_caller, 4);
    assert_eq!(config.limits.deadline, Duration::from_millis(500));
    assert_eq!(config.sandbox, Requirement::BestEffort);
    let main = config.tokens.get("main").unwrap();
    assert_eq!(main.pin.file(), Some(Path::new("/etc/pin")));
    assert_eq!((main.threads, main.spin), (2, Duration::ZERO));
    assert_eq!(
        main.environment.get("SOFTHSM2_CONF").unwrap(),
        "/x/softhsm2.conf"
    );
    assert_eq!(main.sockets, SocketKinds::Inet);
    let spare = config.tokens.get("spare").unwrap();
    let credential = Path::new("/run/credentials/keywardd.service/spare");
    assert_eq!(spare.pin.file(), Some(credential));
}

#[test]
fn an_error_shows_its_place_a_caret_and_what_was_meant() {
    let case = Case::new();
    let error = case
        .load("mode = \"user\"\n\nsokcet = \"/x\"\n")
        .unwrap_err();
    let expected = format!(
        "{}:3:1: unknown field `sokcet`\n3 | sokcet = \"/x\"\n  | ^^^^^^\nhint: did you mean `socket`?",
        case.path().display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_user_without_folders_is_told_what_to_write() {
    let case = Case {
        environment: Environment::default(),
        ..Case::new()
    };
    let mistake = case.mistake("");
    assert!(
        mistake.what.contains("XDG_RUNTIME_DIR is not set"),
        "{mistake}"
    );
    let mistake = case.mistake("socket = \"/x\"");
    assert!(mistake.what.contains("HOME"), "{mistake}");
    case.load("socket = \"/x\"\nstate = \"/y\"").unwrap();
    case.load("mode = \"system\"").unwrap();
    let credential = format!("mode = \"system\"\n{TOKEN}pin = {{ credential = \"p\" }}");
    let mistake = case.mistake(&credential);
    assert!(mistake.hint.unwrap().contains("LoadCredential=p:"));
}

#[test]
fn a_socket_path_that_no_address_can_hold_is_refused() {
    let case = Case::new();
    let path = |length: usize| format!("socket = \"/{}\"", "a".repeat(length.saturating_sub(1)));
    case.load(&path(107)).unwrap();
    let mistake = case.mistake(&path(108));
    assert!(
        mistake.what.contains("longer than the 107 bytes"),
        "{mistake}"
    );
}

#[test]
fn a_file_that_others_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new();
    let load = |text: &str, mode: u32| {
        std::fs::write(case.path(), text).unwrap();
        std::fs::set_permissions(case.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        Config::load_in(&case.path(), &case.environment)
    };
    for (text, mode) in [
        ("mode = \"system\"", 0o664),
        ("mode = \"system\"", 0o602),
        ("", 0o646),
    ] {
        let error = load(text, mode).expect_err(text).to_string();
        let hint = format!("hint: chmod go-w {}", case.path().display());
        assert!(
            error.contains("can write to it") && error.ends_with(&hint),
            "{error}"
        );
    }
    load("", 0o664).unwrap();
    load("mode = \"system\"", 0o644).unwrap();
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_said_to_be_so() {
    let case = Case::new();
    let error = Config::load_in(&case.path(), &case.environment)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot be read") && error.contains("hint: "),
        "{error}"
    );
    std::fs::write(case.path(), b"\xff\xfe").unwrap();
    let error = Config::load_in(&case.path(), &case.environment)
        .unwrap_err()
        .to_string();
    assert!(error.contains("UTF-8"), "{error}");
    let error = Config::load_in(case.folder.path(), &case.environment).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn the_users_file_comes_before_the_systems() {
    let case = Case::new();
    let system = Path::new("/etc/keyward/keyward.toml");
    assert_eq!(case.environment.config_path(), system);
    let own = case.folder.path().join("config/keyward/keyward.toml");
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "").unwrap();
    assert_eq!(case.environment.config_path(), own);
}

#[test]
fn hostile_bytes_are_an_error_and_no_panic() {
    let case = Case::new();
    let deep = "[".repeat(20_000);
    for text in [
        "\0",
        "a=",
        "=\n",
        "[[",
        "[token]\n\"\\u0000\" = 1",
        "\u{feff}",
        "'\r",
        deep.as_str(),
    ] {
        if let Err(error) = case.load(text) {
            let _ = error.to_string();
        }
    }
}
