//! `keyward init`

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct Init {
    /// Set up the system's agent, with a user of its own; needs root
    #[arg(long)]
    pub(crate) system: bool,
    /// Don't look for hardware: make a SoftHSM token, which is software, not hardware
    #[arg(long, conflicts_with_all = ["module", "token_uri", "tcti", "serial"])]
    pub(crate) software: bool,
    /// Take the TPM that this leads to, such as device:/dev/tpmrm0, and look for nothing else
    #[arg(long, value_name = "TCTI", conflicts_with_all = ["module", "token_uri"])]
    pub(crate) tcti: Option<String>,
    /// Take the PIV card with this serial number, such as a YubiKey, and look for nothing else
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["module", "token_uri", "tcti"])]
    pub(crate) serial: Option<u32>,
    /// A card before firmware 5.3, which does not say so: its PIN, PUK and management key are those
    /// of the factory; each is tried once, but not where one try is left
    #[arg(long, conflicts_with_all = ["module", "token_uri", "tcti", "software"])]
    pub(crate) from_factory: bool,
    /// Look in this PKCS#11 module only
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
    /// Take the token that this RFC 7512 URI describes
    #[arg(long, value_name = "URI")]
    pub(crate) token_uri: Option<String>,
    /// What keyward calls the token; by default `yubikey` or `card` for a card, else `main`
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Add the token to the configuration that is there
    #[arg(long)]
    pub(crate) add: bool,
    /// Read the PIN of a new token (of a TPM or of SoftHSM), or the new one of a card, from the first
    /// line of a file, or of stdin for `-`
    #[arg(long, value_name = "FILE", conflicts_with = "remember_pin_in_file")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Write the new PUK of a card, which is made up, into this new file; without it it is shown once
    /// on the terminal
    #[arg(long, value_name = "FILE", conflicts_with_all = ["module", "token_uri", "tcti", "software"])]
    pub(crate) puk_file: Option<PathBuf>,
    /// Make up the PIN of a new token, or the new one of a card, and keep it in a file, so that nobody has to type it
    #[arg(long)]
    pub(crate) remember_pin_in_file: bool,
    /// A TPM: keys without a PIN, which whoever has the agent's uid can use
    #[arg(long, conflicts_with_all = ["pin_file", "remember_pin_in_file", "software", "module", "token_uri", "serial"])]
    pub(crate) no_pin: bool,
    /// Go on where the kernel lacks what processes are sealed with
    #[arg(long)]
    pub(crate) best_effort: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Take back what the last `keyward init` made, if it is unchanged
    #[arg(long, conflicts_with_all = ["software", "module", "token_uri", "add", "pin_file",
          "remember_pin_in_file", "best_effort", "name", "tcti", "no_pin", "serial", "from_factory",
          "puk_file"])]
    pub(crate) undo: bool,
    /// With --undo: destroy the keys of a TPM's or SoftHSM's token without asking for its name
    #[arg(long, requires = "undo")]
    pub(crate) yes_destroy_keys: bool,
    /// The program that loads modules
    #[arg(long, hide = true)]
    pub(crate) worker: Option<PathBuf>,
}

const AFTER: &str = "\
It looks for a TPM at /dev/tpmrm0, for PIV cards such as YubiKeys behind pcscd, and for hardware tokens in the modules that p11-kit's configuration names and in the usual \
places of vendors. Each module is loaded in a sealed process of its own, for a few seconds at the \
most. No PIN is sent to a token that is there, and nothing is written to it. Of a card it replaces what is the \
factory's, and nothing else: the PIN, which is asked for twice, the PUK, which is made up, shown once on the terminal \
(or written to --puk-file) and kept nowhere else, and the management key, which is made up and kept on the card behind \
the PIN, where ykman looks for it. Which of them are the factory's the card says, from firmware 5.3 \
on; before, a person's word is needed (--from-factory). --undo leaves all three as they are. Of a TPM it makes a token: \
a folder for the files of its keys, which that TPM alone can load, and, if the TPM has none, the storage \
root key at 0x81000001, which stays there also after --undo, since others may use it. If there is no \
hardware it \
offers a token of SoftHSM, which is software, not hardware: whoever can read its folder and knows \
the PIN has the keys.

In user mode the agent runs as you. Other users can't use the keys. Your own programs can: what keyward \
knows about a program stops mistakes, not an attacker who runs as you, who can also change the \
agent's configuration. In system mode (--system) the agent has a user of its own, and configuration, \
policy and log are out of your programs' reach; whoever is in the group keyward may use and manage \
the keys, and root can do everything. In both, keys of a hardware token never leave it.

Examples:
  keyward init                                      look, ask, set up
  keyward init --tcti device:/dev/tpmrm0            the TPM, whatever else there is
  keyward init --serial 12345678                    that YubiKey
  keyward init --software --remember-pin-in-file --yes    for a CI job
  sudo keyward init --system --module /usr/lib/vendor.so
  keyward init --undo";
