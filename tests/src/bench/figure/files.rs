//! Encrypting and decrypting a large file, beside the same AEAD in `openssl speed` on one core.
//!
//! The file is in memory (`/dev/shm`) and the output is `/dev/null`: it is the program that is
//! measured, not a disk. A process of its own does it, with the library that `keyward encrypt`
//! uses and a file key of its own, so that no agent is in the figure.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use keyward_client::age::{Decryptor, Encryptor, FileKey, Stanza};
use keyward_protocol::SecretBytes;
use serde::{Deserialize, Serialize};

use crate::bench::report::{Bound, Report};
use crate::process::status_field;

/// The argument that makes the benchmark the process that is measured.
pub(crate) const ARGUMENT: &str = "--file";

const ROUNDS: usize = 5;
const MIB: usize = 1024 * 1024;
const SIZE: usize = 2048 * MIB;

/// What the process answers.
#[derive(Debug, Serialize, Deserialize)]
struct Sample {
    bytes_per_second: f64,
    peak_mib: f64,
}

pub(super) fn measure(report: &mut Report) {
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder for the files");
    let (plain, sealed) = (folder.path().join("plain"), folder.path().join("sealed"));
    write(&plain).expect("room for 2 GiB");
    child("encrypt", &plain, &sealed);
    let nowhere = PathBuf::from("/dev/null");
    let [mut openssl, mut encrypt, mut decrypt] = [const { Vec::new() }; 3];
    let mut peak = [0.0f64; 2];
    for _ in 0..ROUNDS {
        openssl.push(reference());
        let sample = child("encrypt", &plain, &nowhere);
        encrypt.push(sample.bytes_per_second);
        peak[0] = peak[0].max(sample.peak_mib);
        let sample = child("decrypt", &sealed, &nowhere);
        decrypt.push(sample.bytes_per_second);
        peak[1] = peak[1].max(sample.peak_mib);
    }
    let [openssl, encrypt, decrypt] =
        [openssl, encrypt, decrypt].map(|rounds| median(rounds) / 1e6);
    let bound = Bound::AtLeast(0.8);
    report.bound("files.encrypt/openssl-1", encrypt, "MB/s", openssl, bound);
    report.bound("files.decrypt/openssl-1", decrypt, "MB/s", openssl, bound);
    report.limit("files.encrypt.peak", peak[0], "MiB", 32.0);
    report.limit("files.decrypt.peak", peak[1], "MiB", 32.0);
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let block = vec![0x5a; MIB];
    (0..SIZE / MIB).try_for_each(|_| file.write_all(&block))
}

fn child(way: &str, input: &Path, output: &Path) -> Sample {
    let program = std::env::current_exe().expect("the program's own path");
    let mut command = Command::new(program);
    command.args([ARGUMENT, way]).arg(input).arg(output);
    let output = command.output().expect("a process of its own");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a sample")
}

/// What the process does.
pub(crate) fn main(way: &str, input: &Path, output: &Path) -> ExitCode {
    match run(way, input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(way: &str, input: &Path, output: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let key = SecretBytes::copy_from(&[7; FileKey::LENGTH]);
    let key = FileKey::from_secret(key).ok_or("its length")?;
    let (input, output) = (File::open(input)?, File::create(output)?);
    let begin = Instant::now();
    let bytes = if way == "encrypt" {
        let stanza = Stanza {
            arguments: vec!["example.com/bench".into()],
            body: Vec::new(),
        };
        Encryptor::new(&key, vec![stanza])?.encrypt(input, output, |_| {})?
    } else {
        let sealed = Decryptor::read(BufReader::new(input))?;
        sealed.open(&key)?.write_to(output, |_| {})?
    };
    let seconds = begin.elapsed().as_secs_f64();
    let peak = status_field(std::process::id(), "VmHWM").ok_or("no VmHWM")?;
    let sample = Sample {
        bytes_per_second: bytes as f64 / seconds,
        peak_mib: peak.trim_end_matches(" kB").parse::<f64>()? / 1024.0,
    };
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

/// Bytes a second of `openssl speed`, chunks as large as a file's, one core.
fn reference() -> f64 {
    let mut command = Command::new("openssl");
    command.args(["speed", "-seconds", "1", "-bytes", "65536"]);
    let output = command.args(["-evp", "chacha20-poly1305"]).output();
    let output = output.expect("the program openssl");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.split_whitespace().last().unwrap_or_default();
    let thousands: f64 = last
        .trim_end_matches('k')
        .parse()
        .expect("a number of openssl's");
    thousands * 1000.0
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    let middle = rounds.get(rounds.len() / 2);
    *middle.expect("there was a round")
}
