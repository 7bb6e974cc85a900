//! The real `openssl` as the other side: keyward's outputs are checked by it, its outputs are given to keyward.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

/// Why a command of `openssl` gave nothing.
#[derive(Debug)]
pub enum Error {
    /// It could not be started, or a file for it not be written.
    Io(io::Error),
    /// It ended with a status other than 0; stdout and stderr say why.
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote: stdout, then stderr.
        output: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "openssl: {error}"),
            Self::Failed { status, output } => write!(f, "openssl: {status}: {output}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Verifies an ECDSA signature (DER) of a message. `hash` is sha256, sha384 or sha512; `public` a PEM file, as everywhere here.
///
/// # Errors
/// [`Error::Failed`] if the signature is not good.
pub fn verify_ecdsa(
    public: &Path,
    hash: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    verify_digest(public, hash, message, signature, &[])
}

/// Verifies an RSASSA-PKCS1-v1_5 signature of a message.
///
/// # Errors
/// [`Error::Failed`] if the signature is not good.
pub fn verify_pkcs1(
    public: &Path,
    hash: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    verify_digest(
        public,
        hash,
        message,
        signature,
        &["-sigopt", "rsa_padding_mode:pkcs1"],
    )
}

/// Verifies an RSASSA-PSS signature of a message: MGF1 with the same hash, a salt as long as the digest.
///
/// # Errors
/// [`Error::Failed`] if the signature is not good.
pub fn verify_pss(
    public: &Path,
    hash: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let mgf1 = format!("rsa_mgf1_md:{hash}");
    let options = [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
        "-sigopt",
        mgf1.as_str(),
    ];
    verify_digest(public, hash, message, signature, &options)
}

/// Verifies an Ed25519 signature of a message.
///
/// # Errors
/// [`Error::Failed`] if the signature is not good.
pub fn verify_ed25519(public: &Path, message: &[u8], signature: &[u8]) -> Result<(), Error> {
    let files = Files::new()?;
    let [message, signature] = [
        files.write("message", message)?,
        files.write("signature", signature)?,
    ];
    let mut command = command("pkeyutl");
    command
        .args(["-verify", "-rawin", "-pubin", "-inkey"])
        .arg(public);
    command
        .arg("-in")
        .arg(message)
        .arg("-sigfile")
        .arg(signature);
    run(&mut command).map(drop)
}

/// Encrypts by RSAES-OAEP, MGF1 with the same hash, and the label, which may be empty.
///
/// # Errors
/// [`Error::Failed`] if the plaintext is too long for the key.
pub fn encrypt_oaep(
    public: &Path,
    hash: &str,
    label: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let files = Files::new()?;
    let plaintext = files.write("plaintext", plaintext)?;
    let mut command = command("pkeyutl");
    command
        .args(["-encrypt", "-pubin", "-inkey"])
        .arg(public)
        .arg("-in")
        .arg(plaintext);
    command.args(["-pkeyopt", "rsa_padding_mode:oaep"]);
    command.args([
        "-pkeyopt",
        &format!("rsa_oaep_md:{hash}"),
        "-pkeyopt",
        &format!("rsa_mgf1_md:{hash}"),
    ]);
    if !label.is_empty() {
        let hex: String = label.iter().map(|byte| format!("{byte:02x}")).collect();
        command.args(["-pkeyopt", &format!("rsa_oaep_label:{hex}")]);
    }
    run(&mut command)
}

/// Encrypts by RSAES-OAEP with SHA-256 and no label.
///
/// # Errors
/// [`Error::Failed`] if the plaintext is too long for the key.
pub fn encrypt_oaep_sha256(public: &Path, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    encrypt_oaep(public, "sha256", &[], plaintext)
}

/// The raw ECDH secret of a private and a peer's public key.
///
/// # Errors
/// [`Error::Failed`] if the keys are not of the same curve.
pub fn derive(private: &Path, peer_public: &Path) -> Result<Vec<u8>, Error> {
    run(command("pkeyutl")
        .args(["-derive", "-inkey"])
        .arg(private)
        .arg("-peerkey")
        .arg(peer_public))
}

/// Makes an EC key (`P-256`, `P-384`, …): the private one in the file, PKCS#8 PEM.
///
/// # Errors
/// [`Error::Failed`] if there is no such curve.
pub fn generate_ec(curve: &str, private: &Path) -> Result<(), Error> {
    let curve = format!("ec_paramgen_curve:{curve}");
    run(command("genpkey")
        .args(["-algorithm", "EC", "-pkeyopt", &curve, "-out"])
        .arg(private))
    .map(drop)
}

/// Writes the public key of a private one, SPKI PEM.
///
/// # Errors
/// [`Error::Failed`] if the file holds no private key.
pub fn write_public(private: &Path, public: &Path) -> Result<(), Error> {
    run(command("pkey")
        .arg("-in")
        .arg(private)
        .args(["-pubout", "-out"])
        .arg(public))
    .map(drop)
}

/// The DER of a PEM public key, by way of openssl's own parser.
///
/// # Errors
/// [`Error::Failed`] if the file holds no public key.
pub fn public_der(public: &Path) -> Result<Vec<u8>, Error> {
    run(command("pkey")
        .args(["-pubin", "-in"])
        .arg(public)
        .args(["-outform", "DER"]))
}

/// Has an authority of the test's own issue `certificate.pem` for the key of `public.pem`, both in the folder.
///
/// # Panics
/// If openssl refuses.
#[track_caller]
pub fn issue(folder: &Path) {
    let openssl = |name: &str, arguments: &str| {
        let mut command = command(name);
        command.args(arguments.split(' ')).current_dir(folder);
        run(&mut command).expect("openssl does it");
    };
    openssl(
        "req",
        "-new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=authority \
         -keyout authority.key -out authority.pem",
    );
    openssl(
        "x509",
        "-new -days 9 -CA authority.pem -CAkey authority.key -subj /CN=holder -force_pubkey public.pem \
         -out certificate.pem",
    );
}

/// An `openssl` command to be completed and given to [`run`].
#[must_use]
pub fn command(name: &str) -> Command {
    let mut command = Command::new("openssl");
    command.arg(name).stdin(Stdio::null());
    command
}

/// Runs the command and returns its stdout.
///
/// # Errors
/// [`Error::Failed`] if it ends with a status other than 0.
pub fn run(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(Error::Failed {
        status: output.status,
        output: String::from_utf8_lossy(&text).into_owned(),
    })
}

fn verify_digest(
    public: &Path,
    hash: &str,
    message: &[u8],
    signature: &[u8],
    options: &[&str],
) -> Result<(), Error> {
    let files = Files::new()?;
    let [message, signature] = [
        files.write("message", message)?,
        files.write("signature", signature)?,
    ];
    let mut command = command("dgst");
    command
        .arg(format!("-{hash}"))
        .arg("-verify")
        .arg(public)
        .args(options);
    run(command.arg("-signature").arg(signature).arg(message)).map(drop)
}

/// What openssl takes only as files.
struct Files(TempDir);

impl Files {
    fn new() -> Result<Self, Error> {
        Ok(Self(
            tempfile::Builder::new()
                .prefix("keyward-openssl-")
                .tempdir()?,
        ))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.0.path().join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    }
}

/// A new private key, PKCS#8 in DER; the arguments are those of `openssl genpkey`.
///
/// # Panics
/// If openssl refuses.
#[must_use]
#[track_caller]
pub fn generate_pkcs8(arguments: &[&str]) -> Vec<u8> {
    let pem = command("genpkey").args(arguments).output();
    let pem = pem.expect("openssl runs");
    assert!(pem.status.success(), "openssl genpkey: {pem:?}");
    // `genpkey -outform DER` has a form of its own for each kind of key.
    let mut convert = command("pkcs8");
    convert.args(["-topk8", "-nocrypt", "-outform", "DER"]);
    let der = crate::process::run_with(&mut convert, &pem.stdout);
    assert!(der.status.success(), "openssl pkcs8");
    der.stdout
}
