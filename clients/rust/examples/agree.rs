//! ECDH with a peer whose public key is a PEM file; prints a secret of 32 bytes in hexadecimal.
//!
//! `keyward key create meeting --purpose agree --type p384; cargo run --example agree meeting peer.pem`

use std::error::Error;

use keyward_client::{Agent, key_format};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("name a key")?;
    let peer = arguments
        .next()
        .ok_or("name the file of the peer's public key")?;
    let peer = key_format::parse(&std::fs::read(peer)?)?;

    let key = Agent::connect()?.agreement_key(&name)?;
    let secret = key.agree(&peer, None, b"minutes of the meeting", 32)?;
    for byte in secret.expose() {
        print!("{byte:02x}");
    }
    println!();
    Ok(())
}
