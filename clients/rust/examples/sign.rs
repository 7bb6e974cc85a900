//! Signs what comes on stdin with a P-256 key of the agent, through the traits of the `signature`
//! crate, checks the signature with the key's public part, and prints it as DER in hexadecimal.
//!
//! `keyward key create release --purpose sign --type p256; cargo run --example sign --features signature release < notes.txt`

use std::error::Error;
use std::io::Read;

use keyward_client::Agent;
use p256::ecdsa::{DerSignature, Signature};
use signature::{Signer, Verifier};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("name a key")?;
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;

    let key = Agent::connect()?.signing_key(&name)?;
    let signature: Signature = key.try_sign(&message)?;

    let public = key.p256().ok_or("the key is not on P-256")?;
    public.verify(&message, &signature)?;
    for byte in DerSignature::from(signature).as_bytes() {
        print!("{byte:02x}");
    }
    println!();
    Ok(())
}
