//! Asks for a password on the terminal behind standard error, without showing it.
//!
//! Standard input may be data, and standard output may be captured: standard error is where a person
//! is. A password is never taken from a pipe.

use std::io::{self, Write};

use rustix::termios::{self, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

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

/// A terminal that shows nothing and hands over every key, until this is dropped.
///
/// Keys that send signals are read as well: otherwise Ctrl-C would leave the shell without echo.
struct Quiet(Termios);

impl Quiet {
    fn start() -> rustix::io::Result<Self> {
        let before = termios::tcgetattr(io::stderr())?;
        let mut quiet = before.clone();
        let off = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        quiet.local_modes.remove(off);
        quiet.input_modes.insert(InputModes::ICRNL);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
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
    let mut line = Line::new();
    let mut byte = Zeroizing::new([0u8; 1]);
    loop {
        match rustix::io::read(io::stderr(), byte.as_mut_slice()) {
            Ok(0) => return line.finish(),
            Ok(_) => {
                if let Some(password) = line.key(byte[0]) {
                    return password;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io_error(error)),
        }
    }
}

/// A line being typed.
struct Line(Zeroizing<Vec<u8>>);

impl Line {
    fn new() -> Self {
        // Reserved at once, so that growing leaves no copies behind.
        Self(Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX)))
    }

    /// Takes one byte from the keyboard; gives the password, or why there is none, once that is clear.
    fn key(&mut self, byte: u8) -> Option<io::Result<SecretString>> {
        const CTRL_C: u8 = 0x03;
        const CTRL_D: u8 = 0x04;
        const BACKSPACE: u8 = 0x08;
        const CTRL_U: u8 = 0x15;
        const DELETE: u8 = 0x7f;
        match byte {
            b'\n' | CTRL_D => return Some(self.finish()),
            CTRL_C => return Some(Err(io::Error::other("interrupted"))),
            CTRL_U => self.0.clear(),
            // A character is its first byte and the continuation bytes behind it.
            BACKSPACE | DELETE => while self.0.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ if self.0.len() == PASSWORD_BYTES_MAX => {
                return Some(Err(io::Error::other("password is too long")));
            }
            _ => self.0.push(byte),
        }
        None
    }

    fn finish(&self) -> io::Result<SecretString> {
        match str::from_utf8(&self.0) {
            Ok(text) => Ok(SecretString::new(text.to_owned())),
            Err(_) => Err(io::Error::other("password is not UTF-8")),
        }
    }
}

/// The error of a missing terminal has the text that it has always had.
fn io_error(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::NOTTY => io::Error::other("inappropriate ioctl for device"),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Result<String, String>> {
        let mut line = Line::new();
        let password = keys.iter().find_map(|&key| line.key(key))?;
        Some(match password {
            Ok(password) => Ok(password.expose().to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    #[test]
    fn a_line_can_be_corrected() {
        for (keys, password) in [
            (&b"secret\n"[..], "secret"),
            (b"\n", ""),
            (b"secrex\x7ft\n", "secret"),
            ("aé\u{8}b\n".as_bytes(), "ab"),
            (b"\x7f\x7fa\n", "a"),
            (b"wrong\x15right\n", "right"),
            (b"end\x04", "end"),
        ] {
            assert_eq!(typed(keys), Some(Ok(password.to_owned())), "{keys:?}");
        }
        assert_eq!(typed(b"unfinished"), None);
    }

    #[test]
    fn ctrl_c_and_endless_lines_give_no_password() {
        assert_eq!(typed(b"se\x03"), Some(Err("interrupted".to_owned())));
        let long = vec![b'a'; PASSWORD_BYTES_MAX + 1];
        assert_eq!(typed(&long), Some(Err("password is too long".to_owned())));
        assert_eq!(
            typed(b"\xff\n"),
            Some(Err("password is not UTF-8".to_owned()))
        );
    }
}
