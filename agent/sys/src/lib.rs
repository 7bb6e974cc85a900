//! The system calls of keyward: who is at the other end of a socket, file descriptors that travel
//! between processes, process hardening, and the sandbox.
//!
//! This crate holds the only unsafe code of the agent's side. It takes `rustix` where that has a
//! safe wrapper and `libc` for the rest; a module that needs unsafe code says so in its first line.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod fd;
pub mod peer;
pub mod process;
pub mod sandbox;
mod sockopt;
