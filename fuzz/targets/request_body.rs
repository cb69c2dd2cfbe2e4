//! Bodies that clients send, to the native routes and to OpenAI's.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gateway::fuzzing::body(bytes));
