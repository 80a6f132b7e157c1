//! Recovery of a log from any bytes: it may refuse, it may not panic, and it does the same twice.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slotcore_engine::log::fuzz::fuzz_recover(data));
