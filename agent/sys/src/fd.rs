//! Sockets between the processes of keyward, and the descriptors that a process is started with.

mod inherited;
mod packet;

pub use inherited::{stdin_socket, take_listen_fds};
pub use packet::{
    MOST_FDS, receive_blocking, receive_packet, send_blocking, send_packet, seqpacket_pair,
    try_receive, try_send,
};
