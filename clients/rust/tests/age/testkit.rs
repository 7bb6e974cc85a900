//! The vectors of C2SP.

use std::io::Read;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use keyward_client::age::{Decryptor, FileKey, HeaderError};
use keyward_protocol::SecretBytes;

#[test]
fn every_vector_of_the_testkit_does_what_it_is_expected_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/age/testkit");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            check(&name, &std::fs::read(&path).unwrap());
            count += 1;
        }
    }
    assert_eq!(count, 54);
}

fn check(name: &str, vector: &[u8]) {
    let end = vector.windows(2).position(|two| two == b"\n\n").unwrap();
    let description = std::str::from_utf8(&vector[..end]).unwrap();
    let field = |field: &str| {
        let mut lines = description.lines();
        lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(": "))
    };
    let mut file = vector[end + 2..].to_vec();
    if field("compressed") == Some("zlib") {
        let mut inflated = Vec::new();
        let mut decoder = flate2::read::ZlibDecoder::new(&*file);
        decoder.read_to_end(&mut inflated).unwrap();
        file = inflated;
    }
    let file_key = SecretBytes::copy_from(&unhex(field("file key").unwrap()));
    let file_key = FileKey::from_secret(file_key).unwrap();
    let (came, plaintext) = outcome(&file, &file_key);
    assert_eq!(came, field("expect").unwrap(), "{name}");
    if let Some(hash) = field("payload") {
        let hash = unhex(hash);
        assert_eq!(digest(&SHA256, &plaintext).as_ref(), hash, "{name}");
    }
}

fn outcome(file: &[u8], file_key: &FileKey) -> (&'static str, Vec<u8>) {
    let mut plaintext = Vec::new();
    let payload = match Decryptor::read(file) {
        Ok(decryptor) => decryptor.open(file_key),
        Err(_) => return ("header failure", plaintext),
    };
    let result = match payload {
        Ok(payload) => payload.write_to(&mut plaintext, |_| {}),
        Err(HeaderError::Changed) => return ("HMAC failure", plaintext),
        Err(_) => return ("header failure", plaintext),
    };
    (result.map_or("payload failure", |_| "success"), plaintext)
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}
