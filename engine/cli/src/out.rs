//! Writing to the process's two streams: data to one, all else to the other.
//! Unaware of what is written. The macros of std panic when the reader is gone; these do not.

use std::io::{self, Write};

/// Writes data to standard output. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// What the stream says, e.g. a full disk.
pub fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line to standard error; when nobody can read it, nothing can be done about it.
pub fn say(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
