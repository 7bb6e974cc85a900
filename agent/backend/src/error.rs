//! What a worker could not do, by what the agent does next.

use minicbor::{Decode, Encode};

/// The result of a worker's work.
pub type Result<T> = std::result::Result<T, BackendError>;

/// Why a worker did not do what it was asked for.
///
/// The details are for people and never hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Log in, then ask again.
    #[n(1)]
    #[error("the token needs a login")]
    LoginRequired,
    /// This credential must not be sent again.
    #[n(2)]
    #[error("the token refused the PIN")]
    PinIncorrect,
    /// Nothing but the token's own unblocking helps.
    #[n(3)]
    #[error("the token has blocked its PIN")]
    PinBlocked,
    /// The file with the PIN can't be used; no try was spent.
    #[n(4)]
    #[error("the PIN can't be read from its source: {0}")]
    PinSource(#[n(0)] String),
    /// No token matches; wait for it.
    #[n(5)]
    #[error("the token is not there: {0}")]
    TokenAbsent(#[n(0)] String),
    /// A token matches that is not the pinned one; no PIN was sent.
    #[n(6)]
    #[error("another token is in its place: {0}")]
    TokenChanged(#[n(0)] String),
    /// The token has no object with this id.
    #[n(7)]
    #[error("the token does not have the key")]
    KeyNotFound,
    /// The token made a key that is not what was asked for; it was destroyed.
    #[n(8)]
    #[error("the token made a key that is not safe, and it was destroyed: {0}")]
    KeyUnsafe(#[n(0)] String),
    /// The token or this kind of backend can't do it, now or ever.
    #[n(9)]
    #[error("the token can't do this: {0}")]
    MechanismInvalid(#[n(0)] String),
    /// The caller's input can't be used.
    #[n(10)]
    #[error("the input can't be used: {0}")]
    Invalid(#[n(0)] String),
    /// What was to be opened did not open. There is no detail on purpose.
    #[n(11)]
    #[error("the ciphertext does not open")]
    UnwrapFailed,
    /// No room for another object.
    #[n(12)]
    #[error("the token is full")]
    TokenFull,
    /// No session or other resource is free; ask again later.
    #[n(13)]
    #[error("the token is busy: {0}")]
    Busy(#[n(0)] String),
    /// The device or its module is in an unknown state: start the worker again.
    #[n(14)]
    #[error("the token failed: {0}")]
    DeviceFailed(#[n(0)] String),
    /// This request failed, and the next need not.
    #[n(15)]
    #[error("the token refused: {0}")]
    Refused(#[n(0)] String),
    /// An object with the id is there, and it is not this request's: nothing was made.
    #[n(16)]
    #[error("an object with the id {0} is there already, and nothing was made")]
    Exists(#[n(0)] String),
    /// The place that was chosen has a key, which is not overwritten: nothing was made.
    #[n(23)]
    #[error("{0}")]
    PlaceTaken(#[n(0)] String),
    /// Another program has the token for itself: nothing was done, and a spare may have the key.
    #[n(24)]
    #[error("{0}")]
    Held(#[n(0)] String),
    /// The key is bound to PCRs, and these have other values now than were approved.
    #[n(18)]
    #[error("the machine's {0} not what the key was bound to")]
    PcrMismatch(#[n(0)] String),
    /// The token waited for a touch that did not come; nothing was done.
    #[n(19)]
    #[error("nobody touched it in time")]
    TouchMissed,
    /// A PUK with one try left was not sent: nobody said that it may be spent.
    #[n(20)]
    #[error("one try is left, and it was not spent")]
    LastTry,
    /// The token was taken away in the middle: whether it was done is not known. Nothing is wrong
    /// with its worker.
    #[n(22)]
    #[error("the token was interrupted: {0}")]
    Interrupted(#[n(0)] String),
    /// What the token has under the id is not the key that the registry means: nothing was done with it.
    /// Another place may have the right one.
    #[n(21)]
    #[error("the token has another key in its place: {0}")]
    KeyChanged(#[n(0)] String),
}
