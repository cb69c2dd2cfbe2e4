//! The page: its parts, and what a browser may do with them.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// What is part of the page, under `/page/`, in the folder `crates/gateway/page`.
macro_rules! parts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../page/", $name)).as_slice())),*]
    };
}

const PARTS: &[(&str, &[u8])] = parts!["main.js", "page.css"];

/// `GET /`
pub(crate) async fn index() -> Response {
    part("text/html; charset=utf-8", include_bytes!("../../page/index.html"))
}

/// `GET /page/{name}`
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = PARTS.iter().find(|(known, _)| *known == name);
    let &(name, bytes) = found.ok_or_else(Problem::not_found)?;
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    Ok(part(kind, bytes))
}

/// A part of the page, which consists of nothing but its own parts and asks nobody but us.
fn part(kind: &'static str, bytes: &'static [u8]) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self' blob:; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_that_is_in_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut there = BTreeSet::new();
        let mut folders = vec![folder.clone()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&folder).unwrap();
                    there.insert(name.to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        there.retain(|name| std::path::Path::new(name).extension() != Some("html".as_ref()));
        let served: BTreeSet<_> = PARTS.iter().map(|(name, _)| (*name).to_string()).collect();
        assert_eq!(served, there);
    }
}
