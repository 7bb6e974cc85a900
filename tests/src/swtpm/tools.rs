//! What tpm2-tools do for a test: another implementation than keyward's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The handle of the storage root key.
pub(super) const ROOT: &str = "0x81000001";

/// Runs one of the tpm2-tools to its end.
///
/// # Panics
/// If it is not installed.
#[must_use]
#[track_caller]
pub fn tpm2(tcti: &str, name: &str, args: &[&str]) -> Output {
    let output = Command::new(name)
        .args(args)
        .env("TPM2TOOLS_TCTI", tcti)
        .stdin(Stdio::null())
        .output();
    output.expect("tpm2-tools run; type `make test`, which installs tpm2-tools")
}

#[track_caller]
pub(super) fn must(tcti: &str, name: &str, args: &[&str]) {
    let output = tpm2(tcti, name, args);
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
}

/// The certificate of the local authority, see [`manufacture`].
pub(super) fn issuer(folder: &Path) -> PathBuf {
    folder.join("ca/issuercert.pem")
}

/// Puts endorsement keys and their certificates into the state of a TPM that does not run, by
/// swtpm's own tools and an authority of the test's own.
#[track_caller]
pub(super) fn manufacture(state: &Path, folder: &Path) {
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("a file");
        path(&folder.join(name))
    };
    let ca = folder.join("ca");
    fs::create_dir_all(&ca).expect("a folder");
    let ca = path(&ca);
    let local = write(
        "localca.conf",
        format!(
            "statedir = {ca}\nsigningkey = {ca}/signkey.pem\nissuercert = {ca}/issuercert.pem\n\
             certserial = {ca}/certserial\n"
        ),
    );
    let options = write(
        "localca.options",
        "--platform-manufacturer keyward\n--platform-version 1\n--platform-model test\n".to_owned(),
    );
    let setup = write(
        "setup.conf",
        format!(
            "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {local}\n\
             create_certs_tool_options = {options}\nactive_pcr_banks = sha256\n"
        ),
    );
    let state = format!("dir://{}", path(state));
    let output = Command::new("swtpm_setup")
        .args(["--tpm2", "--create-ek-cert", "--tpmstate", &state])
        .args(["--config", &setup])
        .stdin(Stdio::null())
        .output()
        .expect("swtpm_setup runs; type `make test`, which installs swtpm-tools");
    assert!(output.status.success(), "swtpm_setup: {output:?}");
}

/// Makes the storage root key that everybody makes: of P-256, with 32 zeros for each coordinate
/// (TCG TPM v2.0 Provisioning Guidance §7.5.1).
#[track_caller]
pub(super) fn make_root(tcti: &str, folder: &Path) {
    let file = |name: &str| path(&folder.join(name));
    // Sizes in the machine's own order.
    let coordinate = [32u16.to_ne_bytes().as_slice(), &[0; 32]].concat();
    fs::write(file("unique"), coordinate.repeat(2)).expect("a file");
    let attributes =
        "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";
    let (unique, context) = (file("unique"), file("root"));
    let how = ["-g", "sha256", "-G", "ecc256:aes128cfb", "-a", attributes];
    let what = ["-C", "o", "-u", &unique, "-c", &context];
    must(
        tcti,
        "tpm2_createprimary",
        &[how.as_slice(), &what].concat(),
    );
    must(
        tcti,
        "tpm2_evictcontrol",
        &["-C", "o", "-c", &context, ROOT],
    );
    must(tcti, "tpm2_flushcontext", &["-t"]);
}

#[track_caller]
pub(super) fn path(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
