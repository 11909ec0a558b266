//! A command on a pseudo terminal of 140 columns and 40 rows.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A running command whose three standard streams are one terminal.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    keyboard: File,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `command` on a new terminal.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let main: OwnedFd =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&main).expect("grantpt");
        unlockpt(&main).expect("unlockpt");
        let name = ptsname(&main, Vec::new()).expect("ptsname");
        let path = name.to_str().expect("path of the terminal").to_owned();
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(i32::try_from(OFlags::NOCTTY.bits()).expect("flag fits"))
                .open(&path)
                .expect("open the terminal")
        };
        let size = Winsize {
            ws_row: 40,
            ws_col: 140,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&main, size).expect("size of the terminal");
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("start on a terminal");
        // The command keeps copies of the descriptors; only it may hold the terminal open.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut output = File::from(main.try_clone().expect("clone"));
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            // Reading a terminal that nobody holds any more ends with EIO.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                shown
                    .lock()
                    .expect("screen")
                    .extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            child,
            screen,
            keyboard: File::from(main),
            reader,
        }
    }

    /// Everything written so far.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("screen")).into_owned()
    }

    /// Types `text`.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("type");
    }

    /// Everything written until the end; the command must have ended.
    pub(crate) fn finish(self) -> String {
        self.reader.join().expect("reader of the terminal");
        let screen = self.screen.lock().expect("screen");
        String::from_utf8_lossy(&screen).into_owned()
    }
}

#[test]
fn a_command_on_a_terminal_sees_a_terminal_of_the_right_size() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "read word; test -t 1 && stty size && echo got $word >&2",
    ]);
    let mut terminal = Terminal::spawn(&mut command);
    terminal.type_in("hello\n");
    let status = terminal.child.wait().expect("wait");
    let screen = terminal.finish();
    assert!(status.success(), "{screen}");
    assert!(screen.contains("40 140"), "{screen}");
    assert!(screen.contains("got hello"), "{screen}");
}
