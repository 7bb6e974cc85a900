//! Completion of command lines in shells.
//!
//! A shell's script is a few lines that run this program again, with a variable that makes it
//! answer with candidates. So the script never lags behind the program, and names of keys and
//! tokens can be completed, which only the agent knows.

mod names;

use std::process::ExitCode;

use clap::{CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::env::{EnvCompleter, Shells};

use crate::arguments::Arguments;
use crate::exit::Exit;

/// The variable by which a shell's script asks for candidates.
const VARIABLE: &str = "KEYWARD_COMPLETE";

/// A shell that can be taught.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
    /// Elvish
    Elvish,
    /// PowerShell
    Powershell,
}

/// Where the scripts go.
pub(crate) const HELP: &str = "\
Installed packages and `make install` put the scripts of bash, zsh and fish where these shells look. \
By hand:
  bash        keyward completions bash > ~/.local/share/bash-completion/completions/keyward
  zsh         keyward completions zsh > FOLDER/_keyward  (a folder of $fpath, before compinit)
  fish        keyward completions fish > ~/.config/fish/completions/keyward.fish
  elvish      eval (keyward completions elvish | slurp)  (in rc.elv)
  powershell  keyward completions powershell | Out-String | Invoke-Expression  (in $PROFILE)
Names of keys and tokens come from the agent, if it answers within half a second; it records \
that the keys were listed, as it does for `keyward key list`. No PIN is needed.";

/// What teaches a shell.
pub(crate) fn script(shell: Shell) -> std::io::Result<String> {
    let shells = Shells::builtins();
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let unknown = || std::io::Error::other("clap_complete does not know it");
    let completer: &dyn EnvCompleter = shells.completer(name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "keyward", "keyward", "keyward", &mut script)?;
    let mut script = String::from_utf8_lossy(&script).trim().to_owned();
    if matches!(shell, Shell::Zsh) {
        // compinit runs the file as a function at the first completion, which is to be answered too.
        script.push_str(ZSH_FIRST);
    }
    script.push('\n');
    Ok(script)
}

const ZSH_FIRST: &str = r#"
if [[ "${funcstack[1]}" == _keyward ]]; then
    _clap_dynamic_completer_keyward "$@"
fi"#;

/// Prints candidates if it is a shell's script that started this program.
pub(crate) fn answer() -> Option<ExitCode> {
    let folder = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(|| names::attach(Arguments::command()))
        .var(VARIABLE)
        .try_complete(std::env::args_os(), folder.as_deref());
    match answered {
        Ok(false) => None,
        Ok(true) => Some(Exit::Success.into()),
        // Words between a person's prompt and what they type would only disturb.
        Err(_) => Some(Exit::Usage.into()),
    }
}
