//! The first packet of a worker's life: what the monitor read in the configuration.

use keyward_protocol::SecretBytes;
use minicbor::{Decode, Encode};

/// How a worker is set up. Only the monitor sends this, before the agent has the other end.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct Start {
    /// The token's name in the configuration.
    #[n(0)]
    pub token: String,
    /// What kind of hardware, and where.
    #[n(1)]
    pub hardware: Hardware,
    /// How many threads serve.
    #[n(2)]
    pub threads: u32,
    /// For how many microseconds one thread polls for the next request before it blocks.
    #[n(3)]
    pub spin_us: u32,
    /// What the worker may reach.
    #[n(4)]
    pub sandbox: SandboxLists,
    /// The file that holds the PIN, if there is one.
    #[n(5)]
    pub pin_file: Option<String>,
    /// The PIN that the monitor kept from before, if it was told to.
    #[n(6)]
    pub remembered_pin: Option<SecretBytes>,
}

/// What kind of hardware a worker drives.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Hardware {
    /// A token behind a PKCS#11 module.
    #[n(1)]
    Pkcs11 {
        /// The module's path.
        #[n(0)]
        module: String,
        /// Which of its tokens: an RFC 7512 URI.
        #[n(1)]
        uri: String,
    },
    /// A TPM 2.0, and the folder of the keys that only it can load.
    #[n(2)]
    Tpm {
        /// The way to it: a string that [`Tcti::parse`](crate::tcti::Tcti::parse) takes.
        #[n(0)]
        tcti: String,
        /// The folder, which only the worker reads and writes.
        #[n(1)]
        keys: String,
    },
    /// A PIV card behind the PC/SC service.
    #[n(3)]
    Piv {
        /// Which card; `None`: the only one that is there.
        #[n(0)]
        serial: Option<u32>,
        /// For how many seconds the PIN is kept; `None`: until the card is pulled or locked.
        #[n(1)]
        pin_seconds: Option<u64>,
    },
}

/// What a worker may reach, beside what every process needs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SandboxLists {
    /// Files and folders to read.
    #[n(0)]
    pub read: Vec<String>,
    /// Files and folders to change.
    #[n(1)]
    pub write: Vec<String>,
    /// The sockets that it may make.
    #[n(2)]
    pub sockets: SocketKinds,
    /// Whether the worker must refuse to run where a protection is missing.
    #[n(3)]
    pub enforce: bool,
}

/// The sockets that a worker may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SocketKinds {
    /// None.
    #[n(0)]
    None,
    /// AF_UNIX.
    #[n(1)]
    Unix,
    /// AF_UNIX, AF_INET and AF_INET6: the module needs the network.
    #[n(2)]
    Inet,
}
