//! `make bench`: measures keyward beside its references. See `keyward_tests::bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyward_tests::bench::main()
}
