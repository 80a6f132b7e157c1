//! A peer that answers what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use slotcore_netio::resp::decode::{Decoder, Limits, Request};

/// A server that answers requests by their command until the test's process ends.
pub fn server(answer: fn(&[u8]) -> &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap(), answer));
        }
    });
    addr
}

fn serve(mut stream: TcpStream, answer: fn(&[u8]) -> &'static [u8]) {
    let (mut input, mut output, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..n]);
        let mut at = 0;
        loop {
            spans.clear();
            let found = Decoder::default().next(&input[at..], &Limits::default(), &mut spans);
            let Ok(Request::Complete(bytes)) = found else { break };
            let (from, len) = spans[0];
            output.extend_from_slice(answer(&input[at + from as usize..][..len as usize]));
            at += bytes;
        }
        input.drain(..at);
        if stream.write_all(&output).is_err() {
            return;
        }
        output.clear();
    }
}

/// As a server without faults.
pub fn well(command: &[u8]) -> &'static [u8] {
    match command {
        b"PING" => b"+PONG\r\n",
        b"GET" => b"$1\r\nx\r\n",
        b"INFO" => b"$21\r\nredis_version:0.0.1\r\n\r\n",
        b"CONFIG" => b"*0\r\n",
        _ => b"+OK\r\n",
    }
}

/// A port nobody listens at: bound and let go.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
