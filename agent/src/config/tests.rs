//! Files as people write them, and the errors that they get.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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
    assert_eq!(token.spin, Duration::from_micros(60));
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

/// Text, line and column, a part of what is said, a part of the hint.
const MISTAKES: &[(&str, (usize, usize), &str, &str)] = &[
    // shape
    (
        "mode = \"usr\"",
        (1, 8),
        "unknown value `usr`",
        "did you mean `user`?",
    ),
    (
        "log = \"loud\"",
        (1, 7),
        "unknown value `loud`",
        "write error or warn",
    ),
    ("mode = 1", (1, 8), "a word in quotes", ""),
    (
        "colour = 1",
        (1, 1),
        "unknown field `colour`",
        "known here: mode, socket",
    ),
    (
        "log = \"info\"\nlog = \"warn\"",
        (2, 1),
        "duplicate key",
        "",
    ),
    (
        "[limits]\nconections = 1",
        (2, 1),
        "unknown field `conections`",
        "`connections`",
    ),
    ("[limits]\nqueue = \"9\"", (2, 9), "invalid type", ""),
    ("[limits]\nqueue = -1", (2, 9), "invalid value", ""),
    ("socket = \"/x", (1, 13), "invalid basic string", ""),
    ("socket", (1, 7), "", ""),
    (
        "[token.main]\nuri = \"pkcs11:token=x\"",
        (1, 1),
        "missing field `kind`",
        "",
    ),
    (
        "[token.main]\nkind = \"pkcs12\"",
        (2, 8),
        "unknown value `pkcs12`",
        "`pkcs11`",
    ),
    ("token = 4", (1, 9), "invalid type", ""),
    // paths
    ("socket = \"~/x\"", (1, 10), "begins with `~`", "from / on"),
    (
        "socket = \"$HOME/x\"",
        (1, 10),
        "variables are not expanded",
        "from / on",
    ),
    ("state = \"var\"", (1, 9), "relative", "from / on"),
    ("state = \"/var/../etc\"", (1, 9), "`..`", ""),
    // policy
    (
        "[policy]\nallow = []",
        (1, 1),
        "in user mode nobody but",
        "mode = \"system\"",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ uid = 1, gid = 2 }]",
        (3, 10),
        "one of uid",
        "each allows",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{}]",
        (3, 10),
        "one of uid",
        "",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ group = \"no such\" }]",
        (3, 20),
        "no group `no such`",
        "groupadd",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ unit = \"web\" }]",
        (3, 19),
        "`web` is no name",
        "web.service",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ user = 1 }]",
        (3, 12),
        "unknown field `user`",
        "",
    ),
    // limits
    (
        "[limits]\nconnections = 0",
        (2, 15),
        "0 is not between 1 and",
        "default is 2048",
    ),
    (
        "[limits]\ndeadline = \"30\"",
        (2, 12),
        "`30` is no duration",
        "\"30s\"",
    ),
    (
        "[limits]\ndeadline = \"1h\"",
        (2, 12),
        "`1h` is no duration",
        "",
    ),
    (
        "[limits]\ndeadline = \"99999999999999999999s\"",
        (2, 12),
        "is no duration",
        "",
    ),
    (
        "[limits]\ndeadline = \"10m\"",
        (2, 12),
        "longer than max_deadline",
        "",
    ),
    ("[limits]\nhello = \"0s\"", (2, 9), "not between", ""),
];

#[test]
fn every_mistake_is_shown_in_its_place() {
    let case = Case::new();
    for (text, (line, column), what, hint) in MISTAKES {
        let mistake = case.mistake(text);
        assert_eq!(
            (mistake.line, mistake.column),
            (*line, *column),
            "{text}: {mistake}"
        );
        assert!(mistake.what.contains(what), "{text}: {mistake}");
        assert!(
            mistake.hint.clone().unwrap_or_default().contains(hint),
            "{text}: {mistake}"
        );
        assert!(
            !mistake.what.is_empty() && mistake.width > 0 || mistake.line > 0,
            "{text}"
        );
    }
}

/// A line that is added to a token, and parts of what is said and hinted.
const TOKEN_MISTAKES: &[(&str, &str, &str)] = &[
    ("threads = 0", "0 is not between 1 and 64", "default is 4"),
    ("threads = 65", "65 is not between", ""),
    (
        "spin = \"1s\"",
        "1s is not between 0ns and 10ms",
        "default is 60",
    ),
    ("timeout = \"1ms\"", "not between", ""),
    (
        "spni = \"1us\"",
        "unknown field `spni`",
        "did you mean `spin`?",
    ),
    (
        "sockets = \"tcp\"",
        "unknown value `tcp`",
        "none or unix or inet",
    ),
    ("read = [\"etc\"]", "relative", ""),
    ("write = \"/etc\"", "invalid type", ""),
    (
        "environment = { \"A=B\" = \"x\" }",
        "no name of an environment variable",
        "",
    ),
    ("environment = { A = 1 }", "invalid type", ""),
    ("pin = { file = \"pin\" }", "relative", ""),
    (
        "pin = { credential = \"../pin\" }",
        "no name of a credential",
        "LoadCredential",
    ),
    (
        "pin = { file = \"/a\", credential = \"b\" }",
        "from a file or from a credential",
        "",
    ),
    ("pin = {}", "from a file or from a credential", ""),
    (
        "pin = { fiel = \"/a\" }",
        "unknown field `fiel`",
        "did you mean `file`?",
    ),
    ("pin = true", "invalid type", ""),
];

#[test]
fn every_mistake_of_a_token_is_shown_in_its_place() {
    let case = Case::new();
    for (line, what, hint) in TOKEN_MISTAKES {
        let mistake = case.mistake(&format!("{TOKEN}{line}\n"));
        assert_eq!(mistake.line, 5, "{line}: {mistake}");
        assert!(mistake.what.contains(what), "{line}: {mistake}");
        assert!(
            mistake.hint.clone().unwrap_or_default().contains(hint),
            "{line}: {mistake}"
        );
    }
}

#[test]
fn a_name_that_is_not_fit_for_a_file_is_no_token() {
    let case = Case::new();
    for name in [
        "Main",
        "-a",
        "_a",
        "a.b",
        "a/b",
        "",
        "é",
        "a b",
        &"a".repeat(33),
    ] {
        let mistake = case.mistake(&TOKEN.replace("main", &format!("\"{name}\"")));
        assert_eq!((mistake.line, mistake.column), (1, 8), "{mistake}");
        assert!(mistake.what.contains("is no name for a token"), "{mistake}");
    }
    for name in ["a", "0", "a-b_c", &"a".repeat(32)] {
        case.load(&TOKEN.replace("main", name)).unwrap();
    }
}

#[test]
fn a_module_must_be_there_and_a_uri_must_be_given() {
    let case = Case::new();
    let mistake = case.mistake(&TOKEN.replace("MODULE", "/nowhere/x.so"));
    assert_eq!((mistake.line, mistake.column), (3, 10));
    assert!(
        mistake.what.contains("/nowhere/x.so cannot be opened"),
        "{mistake}"
    );
    let mistake = case.mistake(&TOKEN.replace("MODULE", "/etc"));
    assert!(mistake.what.contains("is no file"), "{mistake}");
    for (field, line) in [
        ("module", "module = \"MODULE\"\n"),
        ("uri", "uri = \"pkcs11:token=demo\"\n"),
    ] {
        let mistake = case.mistake(&TOKEN.replace(line, ""));
        assert!(
            mistake.what.contains(&format!("needs `{field}`")),
            "{mistake}"
        );
        assert_eq!(mistake.line, 1);
    }
}

/// A URI and a part of what is said.
const URIS: &[(&str, &str)] = &[
    ("pkcs12:token=a", "does not begin with `pkcs11:`"),
    ("pkcs11:", "is not NAME=VALUE"),
    ("pkcs11:token", "is not NAME=VALUE"),
    ("pkcs11:token=", "is empty"),
    ("pkcs11:token=a;token=b", "there twice"),
    ("pkcs11:token=a;", "is not NAME=VALUE"),
    ("pkcs11:tokn=a", "`tokn` is no attribute"),
    ("pkcs11:token=a;object=b", "`object` names a key"),
    ("pkcs11:token=a b", "percent-encoded"),
    ("pkcs11:token=a%2", "percent-encoded"),
    ("pkcs11:token=a%zz", "percent-encoded"),
    ("pkcs11:token=a%é", "percent-encoded"),
    ("pkcs11:token=%ff", "not UTF-8"),
    ("pkcs11:slot-id=x", "no number"),
    (
        "pkcs11:serial=01234567890123456",
        "longer than the 16 bytes",
    ),
    ("pkcs11:token=a?module-path=/x", "after `?`"),
];

#[test]
fn a_uri_names_a_token_and_nothing_else() {
    let case = Case::new();
    for (uri, what) in URIS {
        let mistake = case.mistake(&TOKEN.replace("pkcs11:token=demo", uri));
        assert_eq!((mistake.line, mistake.column), (4, 7), "{uri}");
        assert!(mistake.what.contains(what), "{uri}: {mistake}");
    }
    for uri in [
        "pkcs11:token=My%20Token;serial=01;model=x;manufacturer=y%3B",
        "pkcs11:slot-id=0",
    ] {
        case.load(&TOKEN.replace("pkcs11:token=demo", uri)).unwrap();
    }
}

#[test]
fn a_pin_that_stands_in_the_file_is_refused_and_not_shown() {
    let case = Case::new();
    let lines = [
        "pin = \"4711\"",
        "pin = 4711",
        "pin = 4711.5",
        "pin = 04711",
        "pin = 4711x",
        "pin = \"4711",
        "pin=\"\"\"4711\n4711\"\"\"",
    ];
    for line in lines {
        let error = case.load(&format!("{TOKEN}{line}\n")).expect_err(line);
        assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    }
    for uri in [
        "pkcs11:token=a?pin-value=4711",
        "pkcs11:token=a;pin-value=4711",
        "pkcs11:token=a?a=b&pin-value=4711",
    ] {
        let mistake = case.mistake(&TOKEN.replace("pkcs11:token=demo", uri));
        assert!(
            !format!("{mistake} {mistake:?}").contains("4711"),
            "{mistake}"
        );
        assert!(
            mistake.what.contains("does not belong into a URI"),
            "{mistake}"
        );
    }
}

#[test]
fn carets_stand_below_wide_letters_and_tabs_and_control_characters_are_not_shown() {
    let case = Case::new();
    let shown = case.mistake("[limits]\n\tqueue = 0").to_string();
    assert!(
        shown.ends_with("2 | \tqueue = 0\n  | \t        ^\nhint: the default is 1024"),
        "{shown}"
    );
    let mistake = case.mistake("mode = \"système\"");
    assert_eq!(mistake.width, 9);
    let shown = case.mistake("socket = \"\u{9b}2J\"").to_string();
    assert!(!shown.contains('\u{9b}'), "{shown}");
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
