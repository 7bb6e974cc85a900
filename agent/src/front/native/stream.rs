//! A client's socket, watched for room to send only while there is none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use keyward_protocol::frame::FrameReader;
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::watch::watch;

pub(super) struct Stream {
    socket: AsyncFd<OwnedFd>,
    /// The same socket while there is no room to send: it has a duplicate to be watched by.
    full: Option<AsyncFd<OwnedFd>>,
}

impl Stream {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let socket = stream.into_std()?.into();
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            full: None,
        })
    }

    /// Waits for bytes and reads them; 0 at the end.
    pub(super) async fn read(&self, reader: &mut FrameReader) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.readable().await?;
            let space = reader.space(0);
            let room = space.capacity().saturating_sub(space.len());
            let received = ready.try_io(|socket| {
                let (_, count) = recv(socket, spare_capacity(space), RecvFlags::DONTWAIT)?;
                Ok(count)
            });
            match received {
                // Less than there was room for: whatever comes now is told anew.
                Ok(Ok(count)) if count < room => {
                    ready.clear_ready();
                    return Ok(count);
                }
                Ok(done) => return done,
                Err(_would_block) => {}
            }
        }
    }

    /// Sends as much as there is room for; `WouldBlock` if there is none, and
    /// [`Stream::has_room`] tells when that has changed.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match &self.full {
            Some(full) => full.try_io(Interest::WRITABLE, |socket| Ok(send(socket, bytes, flags)?)),
            None => send(&self.socket, bytes, flags).map_err(io::Error::from),
        };
        match &sent {
            Ok(length) if *length == bytes.len() => self.full = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.full.is_none() => {
                let duplicate = self.socket.as_fd().try_clone_to_owned()?;
                self.full = Some(watch(duplicate, Interest::WRITABLE)?);
            }
            _ => {}
        }
        sent
    }

    /// Waits until there is room to send again.
    pub(super) async fn has_room(&self) -> io::Result<()> {
        match &self.full {
            Some(full) => full.writable().await.map(|mut ready| ready.retain_ready()),
            None => std::future::pending().await,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn pair() -> (Stream, std::os::unix::net::UnixStream) {
        let (own, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        (
            Stream::new(UnixStream::from_std(own).unwrap()).unwrap(),
            peer,
        )
    }

    #[tokio::test]
    async fn what_comes_after_a_short_read_and_the_end_are_seen() {
        let (stream, mut peer) = pair();
        let mut reader = FrameReader::default();
        for _ in 0..3 {
            peer.write_all(b"abc").unwrap();
            assert_eq!(
                timeout(LONG, stream.read(&mut reader))
                    .await
                    .unwrap()
                    .unwrap(),
                3
            );
        }
        peer.write_all(b"last").unwrap();
        drop(peer);
        assert_eq!(
            timeout(LONG, stream.read(&mut reader))
                .await
                .unwrap()
                .unwrap(),
            4
        );
        assert_eq!(
            timeout(LONG, stream.read(&mut reader))
                .await
                .unwrap()
                .unwrap(),
            0
        );
    }

    #[tokio::test]
    async fn a_full_socket_tells_when_there_is_room_again() {
        let (mut stream, mut peer) = pair();
        for _ in 0..3 {
            while stream.try_write(&[7; 4096]).is_ok() {}
            let full = stream.try_write(b"more").unwrap_err();
            assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
            peer.set_nonblocking(true).unwrap();
            let mut bytes = [0; 4096];
            while peer.read(&mut bytes).is_ok() {}
            timeout(LONG, stream.has_room()).await.unwrap().unwrap();
            assert_eq!(stream.try_write(b"more").unwrap(), 4);
            assert!(stream.full.is_none());
        }
    }
}
