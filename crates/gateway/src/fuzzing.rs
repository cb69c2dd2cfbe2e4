//! What the fuzz targets in `fuzz/` call: whatever comes in is understood or refused, and nothing panics.

pub use crate::backends::fuzzing::answer;
pub use crate::http::fuzzing::body;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::backends::picture;
    use std::fs;
    use std::path::Path;

    type Target = fn(&[u8]);

    /// The seeds of the targets, and whatever they once found, in every run of the tests.
    #[test]
    fn the_seeds_do_no_harm() {
        let targets: [(&str, Target); 4] = [
            ("request_body", body),
            ("backend_answer", answer),
            ("configuration", |bytes| {
                let text = String::from_utf8_lossy(bytes);
                drop(Config::parse("atelier.toml", &text));
            }),
            ("picture", |bytes| {
                drop(picture::received(bytes::Bytes::copy_from_slice(bytes), 16, 16));
            }),
        ];
        for (target, run) in targets {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
            let mut count = 0;
            for entry in fs::read_dir(&seeds).unwrap() {
                run(&fs::read(entry.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{target} has no seeds");
        }
    }
}
