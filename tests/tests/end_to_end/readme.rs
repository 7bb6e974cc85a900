//! What README.md says to type is typed here, in its order.

use std::{fs, path::Path, process::Stdio};

use keyward_tests::{Daemon, Setup, site::program};

/// The blocks of README.md between ```` ```sh ```` and ```` ``` ````. Others (`console`, `text`, `toml`) are not run.
fn blocks(readme: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in readme.lines() {
        match &mut block {
            None if line.trim_end() == "```sh" => block = Some(String::new()),
            None => {}
            Some(_) if line.trim_end() == "```" => blocks.extend(block.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    assert!(block.is_none(), "a block of README.md has no end");
    blocks
}

#[test]
fn every_command_of_the_readme_works_as_it_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let blocks = blocks(&readme);
    assert!(
        !blocks.is_empty(),
        "README.md has no block that begins with ```sh"
    );
    let daemon = Daemon::start(Setup::new());
    let scratch = daemon.dir().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let programs = program("keyward");
    let path = format!(
        "{}:{}",
        programs.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    // One shell for all of them: what an earlier block made, a later one uses.
    let script = format!("set -eux\n{}", blocks.join("\n"));
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(&scratch)
        .env("PATH", path)
        .env("HOME", &scratch)
        .env("KEYWARD_SOCK", daemon.socket())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
