//! What servers answer; the first byte says which answer of which adapter.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::answer(bytes));
