//! [`Server`]: the binary under test as a child process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use crate::PATIENCE;
use crate::client::Client;

/// The program under test: the one that was built with the tests, or that of `SLOTCORE_BINARY`.
pub fn binary() -> OsString {
    std::env::var_os("SLOTCORE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_slotcore").into())
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Lines of its log so far.
    log: Vec<String>,
    pub port: u16,
}

/// How a process ended, and everything it wrote to its log.
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

impl Server {
    /// Starts a server of one core with its data in `dir` and waits until it serves. `options` go behind the usual ones
    /// and win.
    pub fn start(dir: &Path, options: &[&str]) -> Self {
        Self::start_behind(&[], dir, options)
    }

    /// The same behind another program, which becomes the server: `before` are its words.
    pub fn start_behind(before: &[String], dir: &Path, options: &[&str]) -> Self {
        match Self::launch_behind(before, dir, options) {
            Ok(server) => server,
            Err(ended) => panic!("the server did not start: {}\n{}", ended.status, ended.log),
        }
    }

    /// Starts a server that must end by itself.
    pub fn refused(dir: &Path, options: &[&str]) -> Ended {
        // The admin port is opened when the cores serve already.
        Self::launch(dir, options).map_or_else(|ended| ended, Self::ended)
    }

    /// Starts a server; how it ended when it did instead of serving.
    pub fn launch(dir: &Path, options: &[&str]) -> Result<Self, Ended> {
        Self::launch_behind(&[], dir, options)
    }

    fn launch_behind(before: &[String], dir: &Path, options: &[&str]) -> Result<Self, Ended> {
        let mut server = Self::begin(before, dir, options);
        let Some(line) = server.next_line_with("ready to accept connections") else {
            return Err(server.ended());
        };
        let address = line.split("\"address\":\"").nth(1).expect("the line names the address");
        let address = address.split('"').next().unwrap();
        server.port = address.rsplit(':').next().unwrap().parse().unwrap();
        Ok(server)
    }

    /// The same without waiting until it serves.
    pub fn begin(before: &[String], dir: &Path, options: &[&str]) -> Self {
        let mut command = match before {
            [] => Command::new(binary()),
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(binary());
                command
            }
        };
        let mut child = command
            .args([
                "server",
                "--port",
                "0",
                "--admin-port",
                "0",
                "--cores",
                "1",
                "--log-format",
                "json",
                "--dir",
            ])
            .arg(dir)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the process, whose end closes the pipe.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // A server that is dropped has nobody who reads on.
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            log: Vec::new(),
            port: 0,
        }
    }

    /// Waits for a line of the log that contains `text`; `None` when the process ends first. Other lines, as those of a core
    /// that is not given its time, do not prolong it for ever.
    pub fn next_line_with(&mut self, text: &str) -> Option<String> {
        let until = Instant::now() + PATIENCE * 3;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(PATIENCE.min(left)) {
                Ok(line) => {
                    self.log.push(line);
                    if self.log.last().unwrap().contains(text) {
                        return self.log.last().cloned();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("no '{text}' in the log:\n{}", self.log.join("\n")),
            }
        }
    }

    /// A new connection.
    pub fn client(&self) -> Client<TcpStream> {
        Client::connect(self.port)
    }

    /// Sends SIGTERM; see [`Server::ended`] for the rest.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Sends SIGKILL; see [`Server::ended`] for the rest.
    pub fn kill_at_once(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Lets no thread of it run until [`Server::thaw`]: none does when this returns.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        // The signal is taken by one thread, and the others run on until that one has had its turn.
        // SAFETY: all zeros are a value of this structure of numbers.
        let mut stopped: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: takes numbers and a place for what it tells, which is ours; it waits for a stop, and leaves the end to others.
        let told = unsafe { libc::waitid(libc::P_PID, self.child.id(), &mut stopped, libc::WSTOPPED) };
        assert_eq!(told, 0);
    }

    /// Ends [`Server::freeze`].
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: takes two integers; the child was not waited for, so its number is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.ended()
    }

    /// Waits until the process ends.
    pub fn ended(mut self) -> Ended {
        while self.next_line_with("\0").is_some() {}
        let status = self.child.wait().unwrap();
        Ended {
            status,
            log: self.log.join("\n"),
        }
    }

    /// SIGTERM, and the end it must come to.
    pub fn stop(self) {
        self.terminate();
        let ended = self.ended();
        assert!(ended.status.success(), "{}\n{}", ended.status, ended.log);
        assert!(
            ended.log.contains("everything acknowledged is on disk"),
            "{}",
            ended.log
        );
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already in the ordinary case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
