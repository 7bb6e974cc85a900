//! `keyward-worker`: started by keywardd, one process per token.
#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use keyward_worker::probe;

const HELP: &str = "\
keyward-worker: drives one token for keywardd

Usage: keyward-worker pkcs11|tpm|piv NAME
       keyward-worker probe sandbox [OPTION]...
       keyward-worker probe pkcs11 MODULE [OPTION]...
       keyward-worker probe tpm TCTI [OPTION]...
       keyward-worker probe piv [SERIAL] [OPTION]...
       keyward-worker init-token pkcs11 MODULE LABEL [OPTION]...
       keyward-worker init-token tpm TCTI FOLDER [OPTION]...
       keyward-worker init-token piv SERIAL [--from-factory] [OPTION]...
       keyward-worker --help | --version

keywardd starts one for each token of its configuration and gives it a socket as stdin;
there is no use in starting it by hand. `keyward status` shows the workers that run.

`probe` prints a JSON document of the module's tokens, of the TPM, of the cards behind pcscd, or only seals itself. `init-token pkcs11` makes a
token of SoftHSM, and of nothing else; it reads two lines, the PIN of the security officer and that
of the user. `init-token tpm` makes the TPM's storage root key if there is none, and a folder for
keys; it reads one line, the PIN, which can be empty. `init-token piv` replaces the PIN, the PUK and the
management key of a card that are the factory's; it reads three lines, a new PIN, a new PUK, and the PIN of a card that
has its own, which can be empty. --from-factory is a person's word that a card before firmware 5.3, which does not
say so, is as the factory made it.
`keyward init` and `keyward doctor` use them. Options: --read=PATH, --write=PATH, --sockets=none|unix|inet,
--best-effort (run where the kernel can't seal).
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        ["--version" | "-V"] => {
            println!("keyward-worker {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["probe", "sandbox", options @ ..] => probe::probe_sandbox(options),
        ["probe", "pkcs11", module, options @ ..] => probe::probe(module, options),
        ["init-token", "pkcs11", module, label, options @ ..] => {
            probe::init_token(module, label, options)
        }
        ["probe", "tpm", tcti, options @ ..] => probe::probe_tpm(tcti, options),
        ["init-token", "tpm", tcti, keys, options @ ..] => probe::init_tpm(tcti, keys, options),
        ["probe", "piv", arguments @ ..] => probe::probe_piv(arguments),
        ["init-token", "piv", serial, options @ ..] => probe::init_piv(serial, options),
        ["pkcs11" | "tpm" | "piv", name] => keyward_worker::process::run(name),
        _ => {
            eprintln!("keyward-worker: error: not what this program takes: {arguments:?}");
            eprintln!("hint: keyward-worker --help");
            ExitCode::from(2)
        }
    }
}
