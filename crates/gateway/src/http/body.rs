//! Reading what clients send: strict JSON, with the path of what is wrong.

use std::collections::BTreeSet;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderValue, StatusCode, header};
use bytes::Bytes;
use dispatch::{Order, Owner, RequestId, StepBounds};
use jiff::Timestamp;
use scheduling::message::{bounded, excerpt, number};
use scheduling::{Seconds, Steps, TardinessPenalty};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Server;
use super::auth::Visitor;
use super::budget::Room;
use super::callbacks::check_callback;
use super::cells::identifier;
use super::problem::Problem;
use super::value::Seed;
use crate::config::{Config, LimitsConfig, Side};
use crate::journal::{Accepted, IdempotencyKey, Spec};
use crate::timeline::Timeline;

/// The body of `POST /v1/requests` and `POST /v1/quotes`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRequest {
    pub(crate) prompt: String,
    #[serde(default)]
    pub(crate) negative_prompt: String,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) seed: Option<Seed>,
    pub(crate) due_in_seconds: Option<f64>,
    pub(crate) due: Option<String>,
    pub(crate) penalty: Option<TardinessPenalty>,
    pub(crate) min_steps: Option<Steps>,
    pub(crate) max_steps: Option<Steps>,
    pub(crate) model: Option<String>,
    pub(crate) callback_url: Option<String>,
}

/// A whole body of a JSON content type, limited in size and in time, of somebody who was let in.
pub(crate) struct JsonBody {
    pub(crate) visitor: Visitor,
    pub(crate) bytes: Bytes,
    /// For the body, and then for an answer that repeats what it says.
    pub(crate) room: Room,
}

impl FromRequest<Server> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, server: &Server) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        // Nothing is read of those who are not let in.
        let visitor = Visitor::from_request_parts(&mut parts, server).await?;
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).map_or("", str::trim);
        // Web pages of strangers cannot send this type without asking first.
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(unsupported("the Content-Type must be application/json"));
        }
        let coding = parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            let coding = excerpt(&String::from_utf8_lossy(coding.unwrap_or_default()));
            let detail =
                format!("Content-Encoding {coding:?}: allowed is a body as it is, without");
            return Err(unsupported(detail));
        }
        let limits = &server.handle.config.limits;
        let limit = limits.body_bytes as usize;
        // What announces itself as too large need not be waited for.
        let size = body.size_hint();
        if size.lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let announced = size.upper().map_or(limit, |upper| (upper as usize).min(limit));
        let room = visitor.budget.claim(announced + super::answer::BESIDE_PROMPTS)?;
        let bytes = whole(body, limits).await?;
        Ok(Self { visitor, bytes, room })
    }
}

/// A body, if it is no longer than may be and comes in time.
///
/// # Errors
/// The problem to tell.
pub(crate) async fn whole(body: Body, limits: &LimitsConfig) -> Result<Bytes, Problem> {
    let limit = limits.body_bytes as usize;
    let read = axum::body::to_bytes(body, limit);
    match tokio::time::timeout(limits.client_seconds.duration(), read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large(limit)),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "the body did not arrive in time",
        )),
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body could not be read whole: allowed are {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
}

/// Reads JSON: 400 if it is none, 422 with the path of the field if it is not of this form.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bad = |e: &serde_json::Error| {
        Problem::new(StatusCode::BAD_REQUEST, "not_json", format!("the body is not JSON: {e}"))
    };
    // An array would be taken for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|e| bad(&e))?;
        return Err(Problem::field(".", "the body is not an object: allowed is {\"…\": …}"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => {
                Problem::field(excerpt(&path), plain(&inner.to_string()))
            }
            _ => bad(&inner),
        }
    })?;
    deserializer.end().map_err(|e| bad(&e))?;
    Ok(value)
}

/// A message without Rust's names for types, and with no more than a person can use of the value
/// that it is about.
pub(crate) fn plain(message: &str) -> String {
    let message = message.replace("expected u32", "expected a whole number from 0 to 4294967295");
    let message = message.replace("expected f64", "expected a number");
    // The value stands between the first quote and the last of its kind before what is expected.
    let end = message.rfind(", expected").unwrap_or(message.len());
    let (said, expected) = message.split_at(end);
    let quoted = said.find(['"', '`']).and_then(|start| {
        let quote = &said[start..=start];
        let last = said.rfind(quote).filter(|last| *last > start)?;
        Some((&said[..=start], &said[start + 1..last], &said[last..]))
    });
    match quoted {
        Some((before, value, behind)) => {
            format!("{}{}{}{expected}", bounded(before), excerpt(value), bounded(behind))
        }
        None => bounded(said) + expected,
    }
}

/// Turns a body into a request, with what it leaves open taken from the configuration.
pub(crate) fn compose(
    new: NewRequest,
    owner: Owner,
    config: &Config,
    timeline: &Timeline,
    key: Option<IdempotencyKey>,
) -> Result<Accepted, Problem> {
    let limits = &config.limits;
    for (field, text) in [("prompt", &new.prompt), ("negative_prompt", &new.negative_prompt)] {
        if text.len() > limits.prompt_bytes as usize {
            let (length, most) = (text.len(), limits.prompt_bytes);
            return Err(Problem::field(field, format!("{length} bytes: allowed is 0 to {most}")));
        }
    }
    let side = |field: &str, pixels: Option<u32>, default: Side| {
        let side = pixels.map_or(Ok(default), Side::new).map_err(|e| Problem::field(field, e))?;
        if side > limits.side {
            let most = limits.side.get();
            let message = format!("{} pixels: allowed is 8 to {most}", side.get());
            return Err(Problem::field(field, message));
        }
        Ok(side.get())
    };
    let width = side("width", new.width, config.defaults.width)?;
    let height = side("height", new.height, config.defaults.height)?;
    let bounds = StepBounds {
        min: new.min_steps.unwrap_or(Steps::MIN),
        max: new.max_steps.unwrap_or(Steps::MAX),
    };
    if bounds.min > bounds.max {
        let (min, max) = (bounds.min.get(), bounds.max.get());
        let message = format!("{min} is above max_steps: allowed is 1 to {max}");
        return Err(Problem::field("min_steps", message));
    }
    if let Some(url) = &new.callback_url {
        check_callback(url, &config.callbacks)
            .map_err(|problem| Problem::field("callback_url", problem))?;
    }
    let model = known_model(new.model.as_deref(), config)?;
    let known = model.and_then(|name| config.model(name)).unwrap_or_default();
    let size = config.size(width * height);
    let slack = slack(&new, config, timeline)?;
    let now = timeline.now();
    let due = now + slack;
    let penalty = new.penalty.unwrap_or(config.defaults.penalty);
    let request = scheduling::Request {
        bounds,
        size,
        model: known,
        ..scheduling::Request::new(now, due, penalty)
    };
    // Whatever is asked for is drawn somewhere with some steps.
    if bounds != StepBounds::ALL {
        check_steps(&request, model, config)?;
    }
    Ok(Accepted {
        order: Order {
            id: RequestId(identifier(config.cell())),
            owner,
            request,
            pixels: width * height,
            expires: due + Seconds::of(limits.expires_after_seconds.seconds()),
        },
        spec: Spec {
            prompt: new.prompt,
            negative_prompt: new.negative_prompt,
            width,
            height,
            seed: match new.seed {
                Some(Seed::This(seed)) => seed,
                None | Some(Seed::Any) => random().into(),
            },
            model: model.map(str::to_string),
        },
        key,
        callback: new.callback_url,
    })
}

/// The model that a picture is drawn with: the one that is named, or what is configured for those that
/// name none or one that is not there.
pub(crate) fn known_model<'a>(
    named: Option<&'a str>,
    config: &'a Config,
) -> Result<Option<&'a str>, Problem> {
    match named.filter(|name| *name != super::CLUSTER) {
        None => Ok(config.default_model()),
        Some(name) if config.model(name).is_some() => Ok(Some(name)),
        Some(name) => match config.catch_all_model() {
            Some(model) => Ok(Some(model)),
            None => Err(no_such_model(name, config)),
        },
    }
}

/// The models that a client may name: where there are none, the whole cluster is one.
pub(crate) fn offered_models(config: &Config) -> Vec<&str> {
    let names: Vec<_> = config.models.iter().map(|model| model.name.get_ref().as_str()).collect();
    if names.is_empty() { vec![super::CLUSTER] } else { names }
}

/// What is said of a model that is not there.
pub(crate) fn no_such_model(name: &str, config: &Config) -> Problem {
    let detail = format!("there is no model {:?}: {}", excerpt(name), config.known());
    let problem = Problem::new(StatusCode::NOT_FOUND, "model_not_found", detail);
    Problem { field: Some("model".into()), ..problem }
}

/// A number of steps that no server gives is refused now, rather than waited for.
fn check_steps(
    request: &scheduling::Request,
    model: Option<&str>,
    config: &Config,
) -> Result<(), Problem> {
    let servers: Vec<_> = config.servers.iter().map(|server| config.server(server)).collect();
    if servers.iter().any(|server| server.takes(request)) {
        return Ok(());
    }
    let nothing = scheduling::Loaded::default();
    let any = scheduling::Request { bounds: StepBounds::ALL, ..*request };
    let offers = servers.iter().filter_map(|server| server.offer(&any, Seconds::ZERO, &nothing));
    let allowed: Vec<_> = offers
        .map(|offer| format!("{} to {}", offer.bounds.min.get(), offer.bounds.max.get()))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let StepBounds { min, max } = request.bounds;
    let given = format!("{} to {} steps", min.get(), max.get());
    let allowed = allowed.join(" or ");
    let with = model.map_or(String::new(), |model| format!(" with model {model}"));
    Err(Problem::field("min_steps", format!("{given}: allowed{with} is {allowed}")))
}

/// From now to the due time.
fn slack(new: &NewRequest, config: &Config, timeline: &Timeline) -> Result<Seconds, Problem> {
    let most = config.limits.due_in_seconds.seconds();
    let (field, seconds) = match (&new.due_in_seconds, &new.due) {
        (Some(_), Some(_)) => {
            return Err(Problem::field("due", "give either due or due_in_seconds, not both"));
        }
        (Some(seconds), None) => ("due_in_seconds", *seconds),
        (None, Some(date)) => {
            let date: Timestamp = date.parse().map_err(|_| {
                let allowed = format!(
                    "allowed is a date with time and offset such as 2030-01-31T12:00:00Z, at most \
                     {most} s from now"
                );
                Problem::field("due", format!("{:?} cannot be read: {allowed}", excerpt(date)))
            })?;
            ("due", timeline.until(date).seconds())
        }
        (None, None) => ("due_in_seconds", config.defaults.due_in_seconds.seconds()),
    };
    if !(0.0..=most).contains(&seconds) || seconds == 0.0 {
        let what = if seconds <= 0.0 { "lies in the past" } else { "is out of range" };
        let seconds = number(seconds);
        let message = format!("{seconds} s from now {what}: allowed is above 0 to {most} s");
        return Err(Problem::field(field, message));
    }
    Ok(Seconds::of(seconds))
}

/// 32 random bits.
fn random() -> u32 {
    uuid::Uuid::new_v4().as_u128() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::WallClock;
    use proptest::prelude::*;

    fn intake(json: &str) -> Result<Accepted, Problem> {
        intake_under(&Config::demo(), json)
    }

    fn intake_under(config: &Config, json: &str) -> Result<Accepted, Problem> {
        let timeline = Timeline::start(WallClock(|| 1_000_000.0));
        compose(parse(json.as_bytes())?, "ann".into(), config, &timeline, None)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_open_comes_from_the_configuration() {
        let accepted = intake(r#"{"prompt":"a red circle"}"#).unwrap();
        assert_eq!((accepted.spec.width, accepted.spec.height), (128, 128));
        assert_eq!(accepted.order.request.slack(), Seconds::of(10.0));
        assert_eq!(accepted.order.request.penalty, TardinessPenalty::Linear);
        assert_eq!(accepted.order.request.bounds, StepBounds::ALL);
    }

    #[tokio::test(start_paused = true)]
    async fn steps_that_nobody_gives_are_refused_at_once() {
        let text = "[[server]]\nname = \"a\"\nsteps_per_second = 9.0\nmax_steps = 50\n\
                    backend = { kind = \"demo\" }\n\
                    [objective]\nquality = { table = [[10, 1.0], [30, 2.0]] }\n";
        let config = Config::parse("x.toml", text).unwrap();
        for (bounds, given) in [(r#""max_steps":9"#, "1 to 9"), (r#""min_steps":51"#, "51 to 200")]
        {
            let json = format!(r#"{{"prompt":"x",{bounds}}}"#);
            let problem = intake_under(&config, &json).unwrap_err();
            let detail = format!("{given} steps: allowed is 10 to 50");
            assert_eq!((problem.field.as_deref(), problem.detail), (Some("min_steps"), detail));
        }
        assert!(intake_under(&config, r#"{"prompt":"x","max_steps":10}"#).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_due_date_is_read_against_the_clock() {
        let due = r#"{"prompt":"","due":"1970-01-12T13:47:10Z"}"#;
        assert_eq!(intake(due).unwrap().order.request.slack(), Seconds::of(30.0));
        let offset = due.replace("13:47:10Z", "14:47:10+01:00");
        assert_eq!(intake(&offset).unwrap().order.request.slack(), Seconds::of(30.0));
    }

    #[tokio::test(start_paused = true)]
    async fn bad_bodies_are_refused_with_field_and_allowed_values() {
        let check = |json: &str, status: u16, field: Option<&str>, parts: &[&str]| {
            let problem = intake(json).unwrap_err();
            assert_eq!(problem.status.as_u16(), status, "{json}: {problem:?}");
            assert_eq!(problem.field.as_deref(), field, "{json}");
            for part in parts {
                assert!(problem.detail.contains(part), "{json}: {}", problem.detail);
            }
        };
        let with = |rest: &str| format!(r#"{{"prompt":"x",{rest}}}"#);
        check("", 400, None, &["EOF"]);
        check("{", 400, None, &["line 1"]);
        check(r#"{"prompt":"x"}{}"#, 400, None, &["trailing"]);
        check("{}", 422, Some("."), &["missing field `prompt`"]);
        check("[\"x\"]", 422, Some("."), &["not an object"]);
        check("[\"x\"", 400, None, &["EOF"]);
        check(&with(r#""seed":"7""#), 422, Some("seed"), &["\"7\"", "-1 for any seed"]);
        check(&with(r#""due_in_seconds":"7""#), 422, Some("due_in_seconds"), &["a number"]);
        check(r#"{"prompt":1}"#, 422, Some("prompt"), &["expected a string"]);
        check(&with(r#""colour":1"#), 422, Some("colour"), &["unknown field", "due_in_seconds"]);
        check(&with(r#""width":100"#), 422, Some("width"), &["100", "multiple of 8"]);
        check(&with(r#""height":264"#), 422, Some("height"), &["264", "8 to 256"]);
        check(&with(r#""width":-8"#), 422, Some("width"), &["-8"]);
        check(&with(r#""seed":-2"#), 422, Some("seed"), &["-2", "0 to 9223372036854775807"]);
        check(&with(r#""width":4294967296"#), 422, Some("width"), &["4294967296"]);
        check(
            &with(r#""penalty":"cubic""#),
            422,
            Some("penalty"),
            &["`linear`, `quadratic`, `square_root`"],
        );
        check(&with(r#""min_steps":0"#), 422, Some("min_steps"), &["1 to 200"]);
        check(
            &with(r#""min_steps":9,"max_steps":8"#),
            422,
            Some("min_steps"),
            &["9 is above", "1 to 8"],
        );
        check(&with(r#""due_in_seconds":-3"#), 422, Some("due_in_seconds"), &["past", "86400"]);
        check(&with(r#""due_in_seconds":0"#), 422, Some("due_in_seconds"), &["past"]);
        check(&with(r#""due_in_seconds":1e9"#), 422, Some("due_in_seconds"), &["out of range"]);
        check(&with(r#""due":"1970-01-01T00:00:00Z""#), 422, Some("due"), &["past"]);
        check(&with(r#""due":"tomorrow""#), 422, Some("due"), &["tomorrow", "2030-01-31"]);
        let beyond = with(r#""due":"+10000-01-01T00:00:00Z""#);
        check(&beyond, 422, Some("due"), &["+10000-01-01", "at most 86400 s from now"]);
        let digits = with(&format!(r#""due_in_seconds":1{}"#, "0".repeat(299)));
        check(&digits, 422, Some("due_in_seconds"), &["1e299 s from now is out of range"]);
        check(&with(r#""due":"x","due_in_seconds":1"#), 422, Some("due"), &["not both"]);
        let long = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(8193));
        check(&long, 422, Some("prompt"), &["8193", "0 to 8192"]);
    }

    #[test]
    fn no_message_repeats_more_than_a_person_can_use() {
        let long = ["x".repeat(5000), "two words ".repeat(500), "9".repeat(300), "`\"".repeat(900)];
        for value in &long {
            let json = serde_json::to_string(value).unwrap();
            for (body, expected) in [
                (format!(r#"{{"prompt":"x","penalty":{json}}}"#), "`square_root`"),
                (format!(r#"{{"prompt":"x","width":{json}}}"#), "0 to 4294967295"),
                (format!(r#"{{"prompt":"x",{json}:1}}"#), "`due_in_seconds`"),
                (format!(r#"{{"prompt":"x","due":{json}}}"#), "2030-01-31"),
            ] {
                let problem = intake(&body).unwrap_err();
                assert!(problem.detail.contains(expected), "{}", problem.detail);
                let shown = problem.detail.len() + problem.field.map_or(0, |field| field.len());
                assert!(shown < 600, "{shown} bytes: {}", problem.detail);
            }
        }
        let digits = format!(r#"{{"prompt":"x","seed":{}}}"#, "9".repeat(300));
        assert!(intake(&digits).unwrap_err().detail.len() < 200);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(text in ".{0,200}") {
            let _ = parse::<NewRequest>(text.as_bytes());
        }

        #[test]
        fn near_misses_never_panic(
            field in "prompt|width|height|seed|due|due_in_seconds|penalty|min_steps|max_steps",
            value in r#"-?[0-9]{1,30}|"[ -~&&[^"\\]]{0,30}"|null|true|\[\]|\{\}|1e[0-9]{1,3}|-0.0"#,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let _ = intake(&format!(r#"{{"prompt":"x","{field}":{value}}}"#));
            });
        }
    }
}
