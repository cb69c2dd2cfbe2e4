//! Instance files, and rows beside them.
#![no_main]

use scheduling::{Instance, read_rows};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Instance::from_json(text) {
        Ok(instance) => assert_eq!(Instance::from_json(&instance.to_json()), Ok(instance)),
        Err(error) => assert!(error.to_string().len() < 10_000, "{error}"),
    }
    if let Err(error) = read_rows(text, &[]) {
        assert!(error.to_string().len() < 10_000, "{error}");
    }
});
