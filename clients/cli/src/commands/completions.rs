//! `keyward completions SHELL`

use crate::completion::{self, Shell};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::print;

pub(super) fn print_script(shell: Shell) -> Result<(), Error> {
    let script = completion::script(shell)
        .map_err(|e| Error::new(Exit::Fault, "can't write the script").cause(e))?;
    print(&script)
}
