//! Reads pages of a node's admin endpoint.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde::de::DeserializeOwned;
use slotcore_rt::dial::connect;

use super::Failure;

/// A node that does not answer for so long is taken to be gone. Its cores have a quarter of a second each.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest page, in bytes: thousands of groups fit.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// The page at `path` of the endpoint at `admin` (`host:port`), as it came, and what it holds.
///
/// # Errors
/// Nobody answers there, or it is no such endpoint.
pub fn page<T: DeserializeOwned>(admin: &str, path: &str) -> Result<(String, T), Failure> {
    let failed = |what: &dyn std::fmt::Display| {
        format!("no node answers at {admin}: {what}. --admin names the --admin-port of a node on this machine")
    };
    let mut stream = connect(admin, PATIENCE).map_err(|error| failed(&error))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.take(PAGE_BYTES_MAX).read_to_string(&mut answer))
        .map_err(|error| failed(&error))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| failed(&"it speaks no HTTP"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        let status = head.lines().next().unwrap_or_default();
        return Err(failed(&format_args!("it says {status:?} to {path}")).into());
    }
    let page = serde_json::from_str(body).map_err(|error| failed(&error))?;
    Ok((body.to_owned(), page))
}
