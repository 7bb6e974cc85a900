//! A place for a daemon: a folder with `keyward.toml`, a state folder, and real tokens.
//!
//! A site outlives the daemons that run on it, so a test can stop one, change something and start another.

mod token_setup;

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use keyward_virtual_piv::{Card, Model, Rig, rig::YUBIKEY};
use tempfile::TempDir;

pub use token_setup::{Pin, TokenSetup};

use crate::{CardToken, FaultModule, PIV_PIN, SoftHsm, Swtpm, TPM_PIN, TpmToken};
use token_setup::Kind;

/// The serial number of a site's first card; the others follow.
const FIRST_SERIAL: u32 = 41_872_301;

/// What is to be in a site.
#[derive(Debug, Default)]
pub struct Setup {
    tokens: Vec<TokenSetup>,
    top: String,
    sections: String,
}

impl Setup {
    /// One token, `main`, in front of which nothing stands, with its PIN in a file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this token. Without any, there is `main`.
    #[must_use]
    pub fn token(mut self, token: TokenSetup) -> Self {
        self.tokens.push(token);
        self
    }

    /// Adds a line at the top of `keyward.toml`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        writeln!(self.top, "{line}").expect("a string takes everything");
        self
    }

    /// Adds a table to `keyward.toml`: its header and its lines.
    #[must_use]
    pub fn section(mut self, section: &str) -> Self {
        writeln!(self.sections, "{section}").expect("a string takes everything");
        self
    }

    /// Makes the site.
    ///
    /// # Panics
    /// If SoftHSM is not installed, or a file can't be written.
    #[must_use]
    #[track_caller]
    pub fn build(mut self) -> Site {
        if self.tokens.is_empty() {
            self.tokens.push(TokenSetup::new("main"));
        }
        let dir = tempfile::Builder::new()
            .prefix("keyward-")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        let mut site = Site {
            dir,
            tokens: Vec::new(),
        };
        let mut text = format!(
            "socket = {:?}\nstate = {:?}\nlog = \"debug\"\n{}\n{}\n",
            site.socket(),
            site.state(),
            self.top,
            self.sections
        );
        let mut cards = Cards::of(&self.tokens);
        for setup in self.tokens {
            let (token, table) = token(&site, setup, &mut cards);
            text.push_str(&table);
            site.tokens.push(token);
        }
        fs::write(site.config(), text).expect("keyward.toml");
        site
    }
}

/// What the cards of a site are made of.
struct Cards {
    rig: Option<Arc<Rig>>,
    next: usize,
}

impl Cards {
    /// A pcscd with a reader for each of them that is not there already.
    #[track_caller]
    fn of(tokens: &[TokenSetup]) -> Self {
        let is_new =
            |token: &&TokenSetup| matches!(token.kind, Kind::Piv { .. }) && token.card.is_none();
        let readers = vec![YUBIKEY; tokens.iter().filter(is_new).count()];
        Self {
            rig: (!readers.is_empty()).then(|| Arc::new(Rig::with_readers(&readers))),
            next: 0,
        }
    }

    /// The next one from the factory.
    #[track_caller]
    fn next(&mut self, model: Model) -> CardToken {
        let rig = self.rig.as_ref().expect("a reader for each card");
        let nth = u32::try_from(self.next).expect("a few");
        let card = Card::new(model, FIRST_SERIAL.wrapping_add(nth));
        let token = CardToken::new(rig, self.next, card);
        self.next = self.next.saturating_add(1);
        token
    }
}

/// Makes a token and writes its table.
#[track_caller]
fn token(site: &Site, setup: TokenSetup, cards: &mut Cards) -> (Token, String) {
    let name = setup.name;
    let (behind, right, table) = match setup.kind {
        Kind::Tpm {
            has_pin,
            manufactured,
        } => {
            let swtpm = match manufactured {
                true => Swtpm::manufactured(),
                false => Swtpm::with_root(),
            };
            let tpm = TpmToken::of(swtpm, &site.state().join("tpm").join(name), has_pin);
            let table = format!("kind = \"tpm\"\ntcti = {:?}\n", tpm.proxy().tcti());
            (Behind::Tpm(Box::new(tpm)), TPM_PIN, (table, String::new()))
        }
        Kind::Piv { model, with_serial } => {
            let card = setup.card.unwrap_or_else(|| cards.next(model));
            let table = card.table(name, with_serial);
            (Behind::Card(card), PIV_PIN, table)
        }
        Kind::SoftHsm | Kind::Fault => {
            let hsm = SoftHsm::new();
            let fault = (setup.kind == Kind::Fault).then(|| FaultModule::new(&hsm));
            let table = pkcs11(&hsm, fault.as_ref(), name);
            let pin = hsm.pin();
            (Behind::SoftHsm { hsm, fault }, pin, table)
        }
    };
    let pin = match setup.pin {
        Pin::Ask => "\"ask\"".to_owned(),
        Pin::File | Pin::WrongFile => {
            let file = site.pin_file(name);
            let right = if setup.pin == Pin::File {
                right
            } else {
                "11111111"
            };
            write_private(&file, right);
            format!("{{ file = {file:?} }}")
        }
    };
    let (table, environment) = table;
    let lines = setup.lines;
    let table = format!("[token.{name}]\n{table}pin = {pin}\n{lines}{environment}\n");
    (Token { name, behind }, table)
}

/// The lines of a table for a PKCS#11 token, and the table of its environment.
fn pkcs11(hsm: &SoftHsm, fault: Option<&FaultModule>, name: &str) -> (String, String) {
    let module = fault.map_or(hsm.module(), FaultModule::library);
    let mut write = vec![hsm.token_dir()];
    write.extend(fault.iter().map(|fault| fault.dir().to_owned()));
    let table = format!(
        "kind = \"pkcs11\"\nmodule = {module:?}\nuri = {:?}\nread = {:?}\nwrite = {write:?}\n",
        hsm.uri(),
        [hsm.conf()],
    );
    let mut environment = format!("[token.{name}.environment]\n");
    let variables = hsm.environment().into_iter();
    for (variable, value) in variables.chain(fault.into_iter().flat_map(FaultModule::environment)) {
        writeln!(environment, "{variable} = {value:?}").expect("a string takes everything");
    }
    (table, environment)
}

/// A token of a site.
#[derive(Debug)]
struct Token {
    name: &'static str,
    behind: Behind,
}

#[derive(Debug)]
enum Behind {
    SoftHsm {
        hsm: SoftHsm,
        fault: Option<FaultModule>,
    },
    Tpm(Box<TpmToken>),
    Card(CardToken),
}

/// A place for a daemon. The folder and the tokens go when it is dropped.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    tokens: Vec<Token>,
}

impl Site {
    /// The folder of everything, in which a test may keep files of its own. Its path is short.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of `keyward.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir().join("keyward.toml")
    }

    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir().join("agent.sock")
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The file that a token's PIN is in, if it is in one.
    #[must_use]
    pub fn pin_file(&self, token: &str) -> PathBuf {
        self.dir().join(format!("{token}.pin"))
    }

    /// The SoftHSM folder of a token.
    ///
    /// # Panics
    /// If there is no such token.
    #[must_use]
    #[track_caller]
    pub fn hsm(&self, token: &str) -> &SoftHsm {
        match &self.token(token).behind {
            Behind::SoftHsm { hsm, .. } => hsm,
            Behind::Tpm(_) | Behind::Card(_) => panic!("{token} is no SoftHSM"),
        }
    }

    /// The TPM behind a token.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn tpm(&self, token: &str) -> &TpmToken {
        match &self.token(token).behind {
            Behind::Tpm(tpm) => tpm,
            Behind::SoftHsm { .. } | Behind::Card(_) => panic!("{token} is no TPM"),
        }
    }

    /// The PIV card behind a token.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn card(&self, token: &str) -> &CardToken {
        match &self.token(token).behind {
            Behind::Card(card) => card,
            Behind::SoftHsm { .. } | Behind::Tpm(_) => panic!("{token} is no PIV card"),
        }
    }

    /// The fault module in front of a token.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn fault(&self, token: &str) -> &FaultModule {
        match &self.token(token).behind {
            Behind::SoftHsm { fault, .. } => fault.as_ref(),
            Behind::Tpm(_) | Behind::Card(_) => None,
        }
        .expect("the token is set up with .fault()")
    }

    #[track_caller]
    fn token(&self, name: &str) -> &Token {
        let token = self.tokens.iter().find(|token| token.name == name);
        token.expect("the site has a token of that name")
    }

    /// Replaces text in `keyward.toml`.
    ///
    /// # Panics
    /// If the text is not there.
    #[track_caller]
    pub fn edit_config(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).expect("keyward.toml");
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        fs::write(self.config(), text.replacen(from, to, 1)).expect("keyward.toml");
    }

    /// The records of the log, each parsed; every line must be whole.
    ///
    /// # Panics
    /// If a line is no JSON object.
    #[must_use]
    #[track_caller]
    pub fn audit(&self) -> Vec<serde_json::Value> {
        self.audit_lines()
            .iter()
            .map(|line| serde_json::from_str(line).expect("each line of the log is JSON"))
            .collect()
    }

    /// The lines of the log, oldest first.
    ///
    /// # Panics
    /// If the log can't be read.
    #[must_use]
    #[track_caller]
    pub fn audit_lines(&self) -> Vec<String> {
        let folder = fs::read_dir(self.state().join("audit")).expect("the folder of the log");
        let mut segments: Vec<_> = folder
            .map(|entry| entry.expect("an entry of the folder").path())
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .collect();
        segments.sort();
        let mut lines = Vec::new();
        for segment in segments {
            let bytes = fs::read(segment).expect("a segment of the log");
            // Room that was taken ahead is behind the last line.
            let text = String::from_utf8(bytes).expect("the log is text");
            let text = text.trim_end_matches('\0');
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    /// Writes an intent behind the end of the log of a daemon that does not run: what it would have
    /// written before it died. The log's last mark of the registry is in it unless `fields` has one.
    ///
    /// # Panics
    /// If the log has no mark yet, or can't be written.
    #[track_caller]
    pub fn intend(&self, fields: &serde_json::Value) {
        let records = self.audit();
        let last = records.last().expect("a record");
        let marked = records.iter().rfind(|record| !record["registry"].is_null());
        let mut intent = serde_json::json!({
            "seq": records.len(),
            "time": last["time"],
            "kind": "manage-intent",
            "registry": marked.expect("a mark")["registry"],
        });
        let fields = fields.as_object().expect("fields").clone();
        intent.as_object_mut().expect("fields").extend(fields);
        let folder = fs::read_dir(self.state().join("audit")).expect("the folder of the log");
        let segment = folder
            .map(|entry| entry.expect("an entry of the folder").path())
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .max()
            .expect("a segment of the log");
        let lines = fs::read_to_string(&segment).expect("a segment of the log");
        // Room that was taken ahead is behind the last line.
        let lines = lines.trim_end_matches('\0');
        fs::write(&segment, format!("{lines}{intent}\n")).expect("a segment of the log");
    }

    /// `keywardd` with this site's configuration, its output caught, not started yet.
    #[must_use]
    pub fn keywardd(&self) -> Command {
        let mut command = Command::new(program("keywardd"));
        command.arg("--config").arg(self.config());
        scrub(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `keyward` with this site's socket, not started yet.
    #[must_use]
    pub fn keyward(&self) -> Command {
        let mut command = Command::new(program("keyward"));
        scrub(&mut command);
        command
            .env("KEYWARD_SOCK", self.socket())
            .current_dir(self.dir());
        command
    }
}

/// Writes a file that only its owner can read.
///
/// # Panics
/// If it can't be written.
#[track_caller]
pub fn write_private(path: &Path, text: &str) {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    std::io::Write::write_all(&mut file.expect("a private file"), text.as_bytes())
        .expect("a private file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a private file");
}

/// Takes away what the environment of the test would change.
fn scrub(command: &mut Command) {
    for variable in [
        "KEYWARD_SOCK",
        "KEYWARD_SERVER_UID",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "CREDENTIALS_DIRECTORY",
        "SYSTEMD_EXEC_PID",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
}

/// The program of that name which cargo built beside this executable.
///
/// # Panics
/// If it was not built.
#[must_use]
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("the path of this executable");
    let folder = executable.parent().expect("an executable is in a folder");
    // A test is in deps; a program of this crate is beside the others.
    let places = [folder.with_file_name(name), folder.join(name)];
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not beside {}; type: cargo build --workspace --bins",
            executable.display()
        )
    })
}
