//! Every adapter against a stand-in that keeps to the protocol and also misbehaves.

mod answers;
mod lies;
mod running;
pub(crate) mod stand_in;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch::RequestId;
use serde_json::json;

use self::stand_in::{Mood, stand_in};
use super::comfyui::{Input, Workflow};
use super::*;

pub(crate) const WORKFLOW: &str = r#"{
    "3": {"class_type": "KSampler", "inputs": {"seed": 0, "steps": 20}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}
}"#;

const PLACES: [(Input, &str); 6] = [
    (Input::Prompt, "6.text"),
    (Input::NegativePrompt, "7.text"),
    (Input::Seed, "3.seed"),
    (Input::Steps, "3.steps"),
    (Input::Width, "5.width"),
    (Input::Height, "5.height"),
];

pub(crate) const KINDS: [&str; 4] = ["automatic1111", "sdcpp", "openai", "comfyui"];

fn backend(kind: &str, url: &str) -> Arc<dyn Backend> {
    adapter(kind, Client::new(url, None, None).unwrap())
}

fn adapter(kind: &str, client: Client) -> Arc<dyn Backend> {
    match kind {
        "automatic1111" => Arc::new(automatic1111::Automatic1111 {
            client,
            sampler: Some("Euler a".into()),
            cfg_scale: 7.0,
            checkpoint: None,
            checkpoints: Checkpoints::default(),
        }),
        "sdcpp" => Arc::new(sdcpp::SdCpp { client, sampler: None, cfg_scale: 7.0 }),
        "openai" => {
            Arc::new(openai::OpenAi { client, model: None, checkpoints: Checkpoints::default() })
        }
        _ => {
            let workflow = Workflow::new(WORKFLOW, &PLACES).unwrap();
            Arc::new(comfyui::ComfyUi {
                client,
                workflow: Some(workflow),
                workflows: std::collections::BTreeMap::new(),
            })
        }
    }
}

fn job(attempt: u32) -> Job {
    let spec = Spec {
        prompt: "a fox".into(),
        negative_prompt: "blurry".into(),
        width: 16,
        height: 16,
        seed: 77,
        model: None,
    };
    let request = RequestId(uuid::Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001));
    Job { run: RunId { request, attempt }, spec, steps: Steps::new(23).unwrap() }
}

#[derive(Default)]
struct Notes(Mutex<(Vec<f64>, Option<String>)>);

impl Watcher for Notes {
    fn progress(&self, share: f64) {
        self.0.lock().unwrap().0.push(share);
    }
    fn ticket(&self, ticket: &str) {
        self.0.lock().unwrap().1 = Some(ticket.into());
    }
}

#[tokio::test]
async fn faithful_servers_deliver_what_was_asked_for() {
    for kind in KINDS {
        let (stand_in, url) = stand_in().await;
        let backend = backend(kind, &url);
        backend.probe().await.unwrap();
        let painted = backend.generate(&job(1), &Notes::default()).await.unwrap();
        picture::check(&painted.png, 16, 16).unwrap();
        assert_eq!(painted.timing, Timing::Direct, "{kind}");
        let seen = stand_in.seen.lock().unwrap();
        // Prompt, negative prompt, seed and steps arrive, wherever the protocol has them.
        let asked = seen.iter().find(|(_, body)| body.to_string().contains("a fox")).unwrap();
        let text = asked.1.to_string();
        for part in ["blurry", "77", "23", "16"] {
            assert!(text.contains(part), "{kind}: {part} is missing in {text}");
        }
    }
}

#[tokio::test]
async fn misbehaviour_is_named() {
    use Mood::*;
    for kind in KINDS {
        for mood in Mood::ENDING.into_iter().filter(|mood| *mood != Faithful) {
            let (stand_in, url) = stand_in().await;
            *stand_in.mood.lock().unwrap() = mood;
            let result = backend(kind, &url).generate(&job(1), &Notes::default()).await;
            // A download that is not a picture is found out by the check of the picture.
            let result = result.and_then(|painted| picture::check(&painted.png, 16, 16));
            let error = result.expect_err(&format!("{kind} {mood:?}"));
            let refused = match &error {
                BackendError::JobFailed(_) | BackendError::JobRefused(_) => true,
                BackendError::Status { status, .. } => *status < 500,
                _ => false,
            };
            let expected = match mood {
                Error500 => error.to_string().contains("out of memory"),
                CutHeader | CutBody => matches!(error, BackendError::CutOff(_)),
                JobFails => refused && !error.blames_server(),
                WrongSize => error.to_string().contains("8x8 came, 16x16 was asked for"),
                _ => matches!(error, BackendError::Garbage(_) | BackendError::NotPng { .. }),
            };
            assert!(expected, "{kind} {mood:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let (stand_in, url) = stand_in().await;
    *stand_in.mood.lock().unwrap() = Mood::Endless;
    let client = Client::new(&url, None, None).unwrap();
    let call = client.call(reqwest::Method::GET, "/view?", None, Client::SMALL).await;
    assert_eq!(call, Err(BackendError::TooLong { limit: Client::SMALL }));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for kind in KINDS {
        let backend = backend(kind, &url);
        assert!(matches!(backend.probe().await, Err(BackendError::Unreachable(_))), "{kind}");
        let error = backend.generate(&job(1), &Notes::default()).await.unwrap_err();
        assert!(matches!(error, BackendError::Unreachable(_)), "{kind}: {error}");
    }
}

#[test]
fn attempts_have_names_of_their_own() {
    assert_ne!(job(1).uuid(), job(2).uuid());
    assert_eq!(job(1).uuid(), job(1).uuid());
    assert_eq!(job(1).uuid().get_version_num(), 7);
}

#[test]
fn workflows_are_checked_when_they_are_read() {
    let check = |json: &str, place: &str, part: &str| {
        let message = Workflow::new(json, &[(Input::Steps, place)]).unwrap_err();
        assert!(message.contains(part), "{message}");
    };
    check("[]", "3.steps", "API format");
    check(WORKFLOW, "steps", "write NODE.INPUT");
    check(WORKFLOW, "4.steps", "the nodes are 3, 5, 6, 7");
    check(WORKFLOW, "3.step", "inputs of node 3 are seed, steps");
    assert!(Client::new("ftp://x", None, None).err().unwrap().contains("http://HOST:PORT"));
    assert!(Client::new("nonsense", None, None).is_err());
}
