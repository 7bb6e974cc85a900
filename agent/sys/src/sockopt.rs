//! `getsockopt` for the options that `rustix` lacks.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the kernel made of the buffer.
pub(crate) enum Answer {
    /// The first bytes of the buffer hold the value; there are this many.
    Filled(usize),
    /// The value needs a buffer of this many bytes.
    TooLong(usize),
}

/// Reads a `SOL_SOCKET` option into the buffer.
pub(crate) fn get(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    buffer: &mut [u8],
) -> io::Result<Answer> {
    let mut length = libc::socklen_t::try_from(buffer.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the pointers are to a live buffer and to its length; the kernel writes no more bytes
    // than `length` says, which is never more than the buffer has, and every byte is a valid u8.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if status == 0 {
        return Ok(Answer::Filled(length.min(buffer.len())));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ERANGE) {
        return Ok(Answer::TooLong(length));
    }
    Err(error)
}

/// Reads a `SOL_SOCKET` option of any length up to `limit`, or `None` if this kernel or socket does
/// not have the option.
pub(crate) fn get_variable(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; limit.min(256)];
    loop {
        match get(socket, option, &mut buffer) {
            Ok(Answer::Filled(length)) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Ok(Answer::TooLong(length)) if length > buffer.len() && length <= limit => {
                buffer.resize(length, 0);
            }
            Ok(Answer::TooLong(length)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "socket option {option} has {length} bytes, more than the {limit} that keyward reads"
                    ),
                ));
            }
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Says whether the error means that the kernel does not have the option for this socket.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOPROTOOPT | libc::ENODATA | libc::EOPNOTSUPP)
    )
}
