//! Envelope encryption: a data key of the agent, kept beside what it encrypts, and opened again.
//!
//! `keyward key create backups --purpose encrypt --type aes256; cargo run --example envelope backups`

use std::error::Error;

use keyward_client::Agent;
use keyward_client::key::Context;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("name a key")?;
    let key = Agent::connect()?.encryption_key(&name)?;

    // What the data key is for is authenticated with it: the one of another disk does not open here.
    let context = Context::from([("disk".to_owned(), "sda1".to_owned())]);
    let (data_key, kept) = key.data_key(32, &context)?;
    println!(
        "a data key of {} bytes, {} bytes to keep",
        data_key.len(),
        kept.len()
    );

    let again = key.decrypt(&kept, &context)?;
    assert_eq!(data_key, again);
    println!("opened");

    let other = Context::from([("disk".to_owned(), "sdb1".to_owned())]);
    match key.decrypt(&kept, &other) {
        Err(error) => println!("not with another context: {error}"),
        Ok(_) => return Err("it opened with another context".into()),
    }
    Ok(())
}
