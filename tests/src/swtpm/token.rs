//! A token of kind tpm: a TPM, the folder of its keys, and a proxy between the TPM and the worker.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::{
    Exchange, Proxy, Swtpm, tools,
    wire::{self, code, rc},
};
use crate::site::write_private;

/// The PIN of a token that has one.
pub const TPM_PIN: &str = "24681357";
/// The file of what is sealed under the PIN.
const PIN_FILE: &str = "00000000-0000-0000-0000-000000000000.tss2";

/// A TPM with a storage root key, a folder, and a proxy in front.
#[derive(Debug)]
pub struct TpmToken {
    proxy: Proxy,
    swtpm: Swtpm,
    keys: PathBuf,
    /// TPM2B_PUBLIC of what is sealed under the PIN.
    pin_public: Option<Vec<u8>>,
}

impl TpmToken {
    /// A token whose keys will be in that folder, which is made; with [`TPM_PIN`] or without a PIN.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    #[track_caller]
    pub fn new(keys: &Path, has_pin: bool) -> Self {
        Self::of(Swtpm::with_root(), keys, has_pin)
    }

    /// A token of this TPM, which has a storage root key.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    #[track_caller]
    pub fn of(swtpm: Swtpm, keys: &Path, has_pin: bool) -> Self {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(keys).expect("a folder for keys");
        let pin_public = has_pin.then(|| seal_under_pin(&swtpm, keys));
        Self {
            proxy: Proxy::start(&swtpm),
            swtpm,
            keys: keys.to_owned(),
            pin_public,
        }
    }

    /// The TPM. It serves one connection, and that is the proxy's.
    #[must_use]
    pub fn swtpm(&self) -> &Swtpm {
        &self.swtpm
    }

    /// The bus between the TPM and the worker.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The folder of its keys.
    #[must_use]
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// The files of keys, without that of the PIN.
    ///
    /// # Panics
    /// If the folder can't be read.
    #[must_use]
    #[track_caller]
    pub fn key_files(&self) -> Vec<String> {
        let folder = fs::read_dir(&self.keys).expect("the folder of the keys");
        let names = folder.map(|entry| entry.expect("an entry").file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        let mut files: Vec<_> = names.filter(|name| *name != PIN_FILE).collect();
        files.sort();
        files
    }

    /// The PIN, or nothing.
    #[must_use]
    pub fn pin(&self) -> &'static str {
        self.pin_public.as_ref().map_or("", |_| TPM_PIN)
    }

    /// How many commands proved the PIN to a TPM, whichever it was: those with an authorisation for
    /// an object that was loaded from the PIN's public area. What the TPM put off is not counted,
    /// since the same command comes again.
    #[must_use]
    pub fn pins_sent(&self) -> usize {
        let public = self.pin_public.as_deref();
        public.map_or(0, |public| uses(&self.proxy.exchanges(), public))
    }

    /// Puts another TPM in its place: the same one each time.
    #[track_caller]
    pub fn replace(&self) {
        self.proxy.unplug();
        self.swtpm.replace();
        self.proxy.plug();
    }

    /// Puts this one back, after a [`replace`](Self::replace) or [`Proxy::unplug`]; as after a loss
    /// of power.
    #[track_caller]
    pub fn put_back(&self) {
        self.proxy.unplug();
        self.swtpm.restart();
        self.proxy.plug();
    }

    /// Resets the TPM, see [`Proxy::reset`].
    #[track_caller]
    pub fn reset(&self) {
        self.proxy.reset(&self.swtpm);
    }

    /// Suspends and resumes the TPM, see [`Proxy::suspend`].
    #[track_caller]
    pub fn suspend(&self) {
        self.proxy.suspend(&self.swtpm);
    }
}

/// How many commands use objects of this public area with an authorisation.
fn uses(exchanges: &[Exchange], public: &[u8]) -> usize {
    let mut handles = HashSet::new();
    let mut count = 0usize;
    for exchange in exchanges {
        let done = exchange.rc() == Some(rc::SUCCESS);
        let handle = wire::handle_of(&exchange.command);
        match exchange.code() {
            code::LOAD if done => {
                let loaded = wire::handle_of(&exchange.response);
                let mut windows = exchange.command.windows(public.len());
                match windows.any(|window| window == public) {
                    true => handles.insert(loaded),
                    false => handles.remove(&loaded),
                };
            }
            code::CONTEXT_LOAD | code::CREATE_PRIMARY | code::LOAD_EXTERNAL if done => {
                handles.remove(&wire::handle_of(&exchange.response));
            }
            code::FLUSH_CONTEXT if done => {
                handles.remove(&handle);
            }
            _ => {
                let sent = wire::has_sessions(&exchange.command) && handles.contains(&handle);
                if sent && exchange.rc() != Some(rc::RETRY) {
                    count = count.saturating_add(1);
                }
            }
        }
    }
    count
}

/// Seals 32 bytes under the PIN and writes the file; returns the public area.
///
/// This is written from the description of the format, with another implementation of the TPM's
/// commands than the worker's.
#[track_caller]
fn seal_under_pin(swtpm: &Swtpm, keys: &Path) -> Vec<u8> {
    let folder = swtpm.dir.path();
    let file = |name: &str| tools::path(&folder.join(name));
    fs::write(folder.join("secret"), [0x5a; 32]).expect("a file");
    let mut auth: Vec<u8> = Sha256::digest(TPM_PIN).to_vec();
    // Zeros at the end of an authorisation value would be left out.
    if let Some(last) = auth.last_mut() {
        *last |= 1;
    }
    let auth: String = auth.iter().map(|byte| format!("{byte:02x}")).collect();
    let (secret, public, private) = (file("secret"), file("public"), file("private"));
    let what = ["-C", tools::ROOT, "-g", "sha256", "-i", &secret];
    let how = ["-a", "fixedtpm|fixedparent|userwithauth"];
    let out = ["-p", &format!("hex:{auth}"), "-u", &public, "-r", &private];
    let all = [what.as_slice(), &how, &out].concat();
    tools::must(&swtpm.tcti(), "tpm2_create", &all);
    tools::must(&swtpm.tcti(), "tpm2_flushcontext", &["-t"]);
    let public = fs::read(public).expect("a public area");
    let private = fs::read(private).expect("a private area");
    let text = pem(&key_file(&public, &private));
    let head = "keyward: 1\nlabel: \"what the PIN opens\"\nmade: generated\npurpose: unwrap\n";
    write_private(&keys.join(PIN_FILE), &format!("{head}\n{text}"));
    public
}

/// TPMKey of draft-bottomley-tpm2-keys for sealed data, whose authorisation value is not empty.
fn key_file(public: &[u8], private: &[u8]) -> Vec<u8> {
    let sealed = [0x67, 0x81, 0x05, 0x0a, 0x01, 0x05];
    let parent = [0x00, 0x81, 0x00, 0x00, 0x01];
    let fields = [
        der(0x06, &sealed),
        der(0xa0, &der(0x01, &[0])),
        der(0x02, &parent),
        der(0x04, public),
        der(0x04, private),
    ];
    der(0x30, &fields.concat())
}

fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short value");
    let length = match length.to_be_bytes() {
        [0, low] if low < 0x80 => vec![low],
        [0, low] => vec![0x81, low],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), value].concat()
}

fn pem(der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines = text.as_bytes().chunks(64);
    let lines: Vec<_> = lines.map(String::from_utf8_lossy).collect();
    let (label, body) = ("TSS2 PRIVATE KEY", lines.join("\n"));
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
