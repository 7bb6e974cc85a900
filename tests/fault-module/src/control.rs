//! The folder of control files. No stat: a sealed process may lack statx, but it can open.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use cryptoki_sys::CK_RV;

use crate::probe;

pub(crate) struct Control {
    dir: PathBuf,
}

impl Control {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What comes before a call reaches the real module: the count, and the faults that need no output.
    pub(crate) fn before(&self, call: &str) -> Result<(), CK_RV> {
        self.count(call);
        if let Some(paths) = self.take(call, "probe") {
            probe::run(paths.lines(), &self.path(call, "probe.txt"));
        }
        while self.has(call, "hang") {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if self.has(call, "crash.always") || self.take(call, "crash").is_some() {
            std::process::abort();
        }
        let error = self
            .take(call, "error.once")
            .or_else(|| self.read(call, "error"));
        if let Some(text) = self.take(call, "error.second") {
            self.write(call, "error.once", &text);
        }
        error.map_or(Ok(()), |text| Err(number(&text)))
    }

    /// Whether this call has this fault.
    pub(crate) fn has(&self, call: &str, fault: &str) -> bool {
        File::open(self.path(call, fault)).is_ok()
    }

    /// The control file's text, if it is there.
    pub(crate) fn read(&self, call: &str, fault: &str) -> Option<String> {
        let mut file = File::open(self.path(call, fault)).ok()?;
        let mut text = Vec::new();
        let mut part = [0; 1024];
        // Not `read_to_end`, which asks for the size with statx.
        while let Ok(length @ 1..) = file.read(&mut part) {
            text.extend(part.iter().take(length));
        }
        String::from_utf8(text).ok()
    }

    /// The number in the control file, if it is there.
    pub(crate) fn number(&self, call: &str, fault: &str) -> Option<u64> {
        self.read(call, fault).map(|text| number(&text))
    }

    /// The numbers in the control file, one a line; none if it is not there.
    pub(crate) fn numbers(&self, call: &str, fault: &str) -> Vec<u64> {
        self.read(call, fault)
            .unwrap_or_default()
            .lines()
            .map(number)
            .collect()
    }

    /// The text of a fault that happens once: of several threads only the one that deletes the file gets it.
    fn take(&self, call: &str, fault: &str) -> Option<String> {
        let text = self.read(call, fault)?;
        fs::remove_file(self.path(call, fault)).ok().map(|()| text)
    }

    fn write(&self, call: &str, fault: &str, text: &str) {
        let path = self.path(call, fault);
        let written = File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            panic!(
                "keyward-fault-module: {} can't be written: {error}",
                path.display()
            );
        }
    }

    fn count(&self, call: &str) {
        let path = self.path(call, "calls");
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"."));
        if let Err(error) = written {
            panic!(
                "keyward-fault-module: {} can't be written: {error}",
                path.display()
            );
        }
    }

    fn path(&self, call: &str, fault: &str) -> PathBuf {
        self.dir.join(format!("{call}.{fault}"))
    }
}

/// A decimal or 0x-hexadecimal number. Anything else is a mistake of the test, so that the process ends.
pub(crate) fn number(text: &str) -> u64 {
    let text = text.trim();
    let number = text
        .strip_prefix("0x")
        .map_or_else(|| u64::from_str(text), |hex| u64::from_str_radix(hex, 16));
    number.unwrap_or_else(|_| {
        panic!("keyward-fault-module: a control file holds {text:?}, which is no number")
    })
}
