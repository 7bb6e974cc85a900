//! `keyward man`: the manual pages, from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::error::Error;

pub(super) fn write(dir: &Path) -> Result<(), Error> {
    // The version would make each release a change of each page.
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, dir).map_err(|e| {
        Error::usage(format!("can't write manual pages to {}", dir.display())).cause(e)
    })
}
