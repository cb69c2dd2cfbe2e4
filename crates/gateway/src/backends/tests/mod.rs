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
            cfg_scale: Some(7.0),
            checkpoint: None,
            checkpoints: Checkpoints::default(),
        }),
        "sdcpp" => Arc::new(sdcpp::SdCpp { client, sampler: None, cfg_scale: None }),
        "openai" => {
            Arc::new(openai::OpenAi { client, model: None, checkpoints: Checkpoints::default() })
        }
        _ => {
            let workflow = Workflow::new(WORKFLOW, &PLACES, None).unwrap();
            Arc::new(comfyui::ComfyUi {
                client,
                workflow: Some(workflow),
                workflows: std::collections::BTreeMap::new(),
                temporary: false,
            })
        }
    }
}

pub(crate) fn job(attempt: u32) -> Job {
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
struct Notes(Mutex<(Vec<f64>, Option<String>)>, Mutex<Vec<Preview>>);

impl Watcher for Notes {
    fn progress(&self, share: f64) {
        self.0.lock().unwrap().0.push(share);
    }
    fn ticket(&self, ticket: &str) {
        self.0.lock().unwrap().1 = Some(ticket.into());
    }
    fn preview(&self, picture: Preview) {
        self.1.lock().unwrap().push(picture);
    }
    fn wants_previews(&self) -> bool {
        true
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
        // sd-server draws the next multiple of 64.
        let side = if kind == "sdcpp" { "64" } else { "16" };
        for part in ["blurry", "77", "23", side] {
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

#[tokio::test]
async fn a_larger_picture_of_sd_server_is_cut_to_size_and_its_own_guidance_stays() {
    let (stand_in, url) = stand_in().await;
    *stand_in.mood.lock().unwrap() = Mood::Aligned;
    let backend = backend("sdcpp", &url);
    let painted = backend.generate(&job(1), &Notes::default()).await.unwrap();
    picture::check(&painted.png, 16, 16).unwrap();
    let seen = stand_in.seen.lock().unwrap();
    let (_, asked) = seen.iter().find(|(path, _)| path == "/sdcpp/v1/img_gen").unwrap();
    assert_eq!((&asked["width"], &asked["height"]), (&json!(64), &json!(64)));
    assert_eq!(asked["sample_params"].get("guidance"), None);
}

#[tokio::test]
async fn links_of_openai_servers_are_followed_on_their_own_host_alone() {
    let (stand_in, url) = stand_in().await;
    for (mood, expected) in [(Mood::Links, None), (Mood::LinksElsewhere, Some("elsewhere"))] {
        *stand_in.mood.lock().unwrap() = mood;
        let result = backend("openai", &url).generate(&job(1), &Notes::default()).await;
        match expected {
            None => picture::check(&result.unwrap().png, 16, 16).unwrap(),
            Some(part) => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(part) && error.contains("http://10.0.0.1/"), "{error}");
            }
        }
    }
    *stand_in.mood.lock().unwrap() = Mood::FailsWith200;
    let error = backend("openai", &url).generate(&job(1), &Notes::default()).await.unwrap_err();
    assert_eq!(error, BackendError::JobFailed("content policy".into()));
}

#[tokio::test]
async fn comfyui_tells_what_it_has_to_do_and_forgets_what_it_is_told_to() {
    let (stand_in, url) = stand_in().await;
    let client = Client::new(&url, None, None).unwrap();
    let workflow = Workflow::new(WORKFLOW, &PLACES, None).unwrap();
    let workflows = std::collections::BTreeMap::new();
    let comfyui = comfyui::ComfyUi { client, workflow: Some(workflow), workflows, temporary: true };
    assert_eq!(comfyui.foreign().await, Ok(Some(0)));
    stand_in.jobs.lock().unwrap().insert("somebody's".into(), 3);
    assert_eq!(comfyui.foreign().await, Ok(Some(1)));
    comfyui.generate(&job(1), &Notes::default()).await.unwrap();
    let seen = stand_in.seen.lock().unwrap();
    let ours = json!({ "delete": [job(1).uuid().to_string()] });
    assert!(seen.contains(&("/history".into(), ours)), "{seen:?}");
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
        let message = Workflow::new(json, &[(Input::Steps, place)], None).unwrap_err();
        assert!(message.contains(part), "{message}");
    };
    check("[]", "3.steps", "API format");
    check(WORKFLOW, "steps", "write NODE.INPUT");
    check(WORKFLOW, "4.steps", "the nodes are 3, 5, 6, 7");
    check(WORKFLOW, "3.step", "inputs of node 3 are seed, steps");
    assert!(Client::new("ftp://x", None, None).err().unwrap().contains("http://HOST:PORT"));
    assert!(Client::new("nonsense", None, None).is_err());
}
