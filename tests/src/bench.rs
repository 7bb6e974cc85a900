//! The benchmark: what keyward costs, beside the same token without keyward, interleaved in the same run.
//!
//! docs/bench.md says how it measures. Each figure is a module in `bench/figure`.

mod figure;
mod keys;
mod load;
mod machine;
mod process;
mod reference;
mod report;
mod rig;
mod sample;
mod work;

use std::{env, path::Path, process::ExitCode};

use figure::{FIGURES, files};
use report::Report;

/// Runs the figure that the command line names, or all.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [reference::ARGUMENT, module] => reference::main(Path::new(module)),
        [reference::piv::ARGUMENT] => reference::piv::main(),
        [files::ARGUMENT, way, input, output] => {
            files::main(way, Path::new(input), Path::new(output))
        }
        [] => run(|_| true),
        [name] if FIGURES.iter().any(|figure| figure.name == *name) => run(|other| other == *name),
        _ => {
            eprintln!(
                "keyward: error: there is no such figure: {}",
                arguments.join(" ")
            );
            eprintln!("hint: make bench BENCH=NAME, where NAME is one of:");
            for figure in FIGURES {
                eprintln!("  {:<24} {}", figure.name, figure.about);
            }
            ExitCode::from(2)
        }
    }
}

/// A bound that is missed is a finding, not a failure of the benchmark.
fn run(wanted: impl Fn(&str) -> bool) -> ExitCode {
    println!("{}\n", machine::describe());
    let mut report = Report::default();
    for figure in FIGURES.iter().filter(|figure| wanted(figure.name)) {
        eprintln!("measuring {}: {}", figure.name, figure.about);
        (figure.measure)(&mut report);
    }
    report.print();
    match report.write() {
        Ok(path) => {
            println!("\nwritten to {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keyward: error: bench.jsonl can't be written: {error}");
            ExitCode::FAILURE
        }
    }
}
