//! A redis-server of version 7.0 to compare with, on a socket in a temporary folder; ends when dropped.

use super::wire::{Value, normalised, parse};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Redis {
    child: Child,
    folder: PathBuf,
    stream: UnixStream,
}

impl Redis {
    /// Starts one; panics when there is none on this machine.
    pub fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("slotcore-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("redis.sock");
        let mut child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--enable-debug-command",
                "yes",
                "--unixsocket",
            ])
            .arg(&socket)
            .arg("--dir")
            .arg(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is installed");
        let log = BufReader::new(child.stdout.take().unwrap());
        let ready = log
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("now ready to accept connections"));
        assert!(ready, "redis-server did not start");
        let stream = UnixStream::connect(&socket).unwrap();
        Self { child, folder, stream }
    }

    /// Executes one command; the reply, with what has no order sorted.
    pub fn execute(&mut self, words: &[Vec<u8>]) -> Value {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        let (mut bytes, mut buf) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let n = self.stream.read(&mut buf).unwrap();
            assert!(n > 0, "redis-server closed the connection");
            bytes.extend_from_slice(&buf[..n]);
            if let Some((value, rest)) = parse(&bytes) {
                assert!(rest.is_empty());
                return normalised(&String::from_utf8_lossy(&words[0]).to_ascii_lowercase(), value);
            }
        }
    }

    pub fn text(&mut self, line: &str) -> Value {
        self.execute(&super::script::words(line))
    }

    /// The clock of the server, in milliseconds.
    pub fn time_ms(&mut self) -> u64 {
        let Value::Array(parts) = self.text("time") else {
            panic!("TIME is an array")
        };
        let number = |v: &Value| v.to_string().trim_matches('"').parse::<u64>().unwrap();
        number(&parts[0]) * 1000 + number(&parts[1]) / 1000
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        let removed = std::fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            ended.unwrap();
            removed.unwrap();
        }
    }
}
