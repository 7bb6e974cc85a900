//! Tells systemd how it goes (sd_notify(3)).
//!
//! The socket is made and connected before the agent is sealed, since it can make none afterwards;
//! that is why no library does this.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to systemd, if it wants to know.
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// The way that `NOTIFY_SOCKET` names.
    ///
    /// # Errors
    /// It is named and can't be reached.
    pub fn from_environment() -> io::Result<Self> {
        match env::var_os("NOTIFY_SOCKET") {
            Some(name) => Self::to(&name).map(Some).map(Self),
            None => Ok(Self(None)),
        }
    }

    fn to(name: &OsStr) -> io::Result<UnixDatagram> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(socket)
    }

    /// Says `READY=1`, `STOPPING=1` or the like.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(%error, state, "systemd could not be told");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_both_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        Notifier(Some(Notifier::to(path.as_os_str()).unwrap())).tell("READY=1");
        let mut heard = [0; 16];
        assert_eq!(systemd.recv(&mut heard).unwrap(), 7);

        let name = format!("keyward-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        let named = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
        Notifier(Some(named)).tell("STOPPING=1");
        assert_eq!(systemd.recv(&mut heard).unwrap(), 10);
    }

    #[test]
    fn a_name_that_leads_nowhere_is_an_error() {
        Notifier::to(OsStr::new("/nonexistent/notify")).unwrap_err();
    }
}
