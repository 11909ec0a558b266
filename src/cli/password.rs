//! Asks for a password on the terminal behind standard error, without showing it.
//!
//! Standard input may be data, and standard output may be captured: standard error is where a person
//! is. A password is never taken from a pipe.

use std::io::{self, Write};

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, Termios};

use crate::base::secret::SecretString;

/// Longest password, in bytes: what a terminal takes as one line.
const PASSWORD_BYTES_MAX: usize = 4096;

/// Prints `prompt`, then reads one line with echo switched off.
///
/// # Errors
///
/// `inappropriate ioctl for device` if standard error is no terminal; whatever reading from it says.
pub(super) fn ask(prompt: &str) -> io::Result<SecretString> {
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes())?;
    stderr.flush()?;
    let quiet = Quiet::start().map_err(io_error)?;
    let password = read_line();
    drop(quiet);
    stderr.write_all(b"\n")?;
    password
}

/// A terminal that shows nothing, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn start() -> rustix::io::Result<Self> {
        let before = termios::tcgetattr(io::stderr())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet
            .local_modes
            .insert(LocalModes::ICANON | LocalModes::ISIG);
        quiet.input_modes.insert(InputModes::ICRNL);
        termios::tcsetattr(io::stderr(), OptionalActions::Now, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to restore.
        let _ = termios::tcsetattr(io::stderr(), OptionalActions::Now, &self.0);
    }
}

/// Reads a line from the terminal behind standard error.
fn read_line() -> io::Result<SecretString> {
    // Reserved at once, so that growing leaves no copies behind.
    let mut line = zeroize::Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX));
    let mut byte = [0u8; 1];
    loop {
        match rustix::io::read(io::stderr(), &mut byte) {
            Ok(0) if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() == PASSWORD_BYTES_MAX => {
                return Err(io::Error::other("password is too long"));
            }
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io_error(error)),
        }
    }
    zeroize::Zeroize::zeroize(&mut byte);
    let text = str::from_utf8(&line).map_err(|_| io::Error::other("password is not UTF-8"))?;
    Ok(SecretString::new(text.to_owned()))
}

/// The error of a missing terminal has the text that it has always had.
fn io_error(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::NOTTY => io::Error::other("inappropriate ioctl for device"),
        error => error.into(),
    }
}
