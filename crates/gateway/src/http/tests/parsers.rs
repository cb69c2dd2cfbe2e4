//! Everything that is read from a client, with anything at all in it.

use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::http::auth::Door;
use crate::http::body::parse;
use crate::http::headers::{idempotency_key, prefer_wait};
use crate::http::list::list_query;
use crate::http::openai::{Generation, to_native};
use crate::http::trace::Trace;
use crate::timeline::{Timeline, WallClock};

/// A header with any bytes that HTTP lets through.
fn header_value() -> impl Strategy<Value = HeaderValue> {
    let near = prop_oneof![
        "(respond-async, ?)?wait ?= ?\"?[0-9]{0,30}\"?(;[a-z]{0,3})?",
        "0[0-9]-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-[a-z]{0,3})?",
        "[Bb]earer +[ -~]{0,40}",
        "\"?[ -~]{0,300}\"?",
        "-?(inf|NaN|[0-9]{1,400}(\\.[0-9]{1,20})?(e-?[0-9]{1,4})?)",
        "linear|quadratic|cubic|\"linear\"",
        "(\\[?[:a-z0-9.]{1,20}\\]?)(:[0-9]{0,6})?",
    ];
    let any = prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![near.prop_map(String::into_bytes), any]
        .prop_filter_map("not allowed in HTTP", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

fn one(name: &'static str, value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name.parse().unwrap(), value.clone())])
}

/// A JSON value as the text of some field.
const VALUE: &str = r#"-?[0-9]{1,30}|"[ -~&&[^"\\]]{0,30}"|"[0-9]{1,11}x[0-9]{1,11}"|null|true|\[\]|\{\}|1e[0-9]{1,3}|-0\.0|0\.1"#;

fn door() -> Door {
    let server = "[[server]]\nname = \"a\"\nsteps_per_second = 1.0\n\
                  backend = { kind = \"demo\" }\n";
    Door::new(&Config::parse("x.toml", &format!("{server}{KEYS}")).unwrap(), None)
}

proptest! {
    #[test]
    fn no_header_makes_anything_panic_or_leave_its_range(value in header_value()) {
        if let Some(wait) = prefer_wait(&one("prefer", &value)) {
            prop_assert!(wait <= Duration::from_mins(10));
        }
        if let Ok(Some(key)) = idempotency_key(&one("idempotency-key", &value), b"{}") {
            prop_assert!((1..=255).contains(&key.key.len()));
            prop_assert!(key.key.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
        let text = value.to_str().ok();
        let trace = Trace::following(text).to_string();
        // What we send on is valid, and is followed by whoever reads it.
        prop_assert_eq!(&Trace::following(Some(&trace)).to_string()[..36], &trace[..36]);
        prop_assert!(door().enter(&one("authorization", &value)).is_err());
        if Door::new(&Config::demo(), None).enter(&one("host", &value)).is_ok() {
            let host = text.unwrap();
            let known = ["localhost", "127.0.0.1", "[::1]"];
            prop_assert!(known.iter().any(|known| host.to_ascii_lowercase().starts_with(known)), "{host}");
        }
        for name in ["x-atelier-due-in-seconds", "x-atelier-penalty"] {
            let generation: Generation = parse(b"{\"prompt\":\"x\"}").unwrap();
            if let Err(problem) = to_native(&generation, &one(name, &value), &Config::demo()) {
                prop_assert_eq!(problem.field.as_deref(), Some(name));
            }
        }
    }

    #[test]
    fn no_openai_body_makes_it_panic(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(parse::<Generation>(text.as_bytes()).is_err());
        prop_assert!(parse::<Generation>(&bytes).is_err());
    }

    /// Near misses come out as a request within the limits, or name the field.
    #[test]
    fn openai_fields_are_taken_within_their_limits_or_named(
        field in "prompt|n|size|response_format|output_format|stream|negative_prompt|seed|\
                  num_inference_steps|due_in_seconds|penalty|model|user|colour",
        value in VALUE,
    ) {
        let prompt = if field == "prompt" { "" } else { r#""prompt":"x","# };
        let body = format!(r#"{{{prompt}"{field}":{value}}}"#);
        let timeline = Timeline::start(WallClock(|| 0.0));
        let config = Config::demo();
        let made = parse::<Generation>(body.as_bytes())
            .and_then(|generation| to_native(&generation, &HeaderMap::new(), &config))
            .and_then(|new| body::compose(new, "ann".into(), &config, &timeline, None));
        match made {
            Ok(accepted) => {
                prop_assert!(accepted.order.pixels <= 256 * 256);
                prop_assert!(accepted.order.request.slack().seconds() <= 86_400.0);
            }
            // Numbers such as 007 are no JSON.
            Err(problem) => {
                let named = problem.field.is_some() || problem.status == StatusCode::BAD_REQUEST;
                prop_assert!(named, "{}: {:?}", body, problem);
            }
        }
    }

    #[test]
    fn no_query_makes_a_list_panic(query in "((state|server|penalty|before|limit|x)=[!-~&&[^#<>]]{0,20}&?){0,4}") {
        if let Err(problem) = list_query(&query) {
            prop_assert!(problem.field.is_some());
        }
    }

    #[test]
    fn no_operators_body_makes_it_panic(text in "\\PC{0,80}", value in VALUE) {
        for body in [text.clone(), format!("{{\"enabled\":{value}}}"), format!("{{\"policy\":{value}}}")] {
            let _ = parse::<crate::http::servers::Change>(body.as_bytes());
            let _ = parse::<crate::http::servers::NewPolicy>(body.as_bytes());
        }
    }
}
