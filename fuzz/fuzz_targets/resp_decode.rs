//! The request decoder on any bytes: see `check`.
#![no_main]

#[path = "../../netio/tests/differential/mod.rs"]
mod differential;

libfuzzer_sys::fuzz_target!(|data: &[u8]| differential::check(data));
