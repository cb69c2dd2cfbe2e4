//! Pictures of servers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Refused or accepted, but never anything else.
    let _ = gateway::backends::picture::check(bytes, 16, 16);
});
