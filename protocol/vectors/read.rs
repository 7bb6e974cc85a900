//! Reads the vectors beside this, for the tests of the crates that include it by its path.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct File<T> {
    vectors: Vec<T>,
}

/// The vectors of a file.
pub(crate) fn vectors<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = folders.map(|folder| folder.join("protocol/vectors"));
    let folder = folders.find(|folder| folder.is_dir()).unwrap();
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str::<File<T>>(&text).unwrap().vectors
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "an odd number of digits");
    let digits = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}
