//! Addresses of all kinds, sound and not, and what is made of them.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use scheduling::Steps;
use serde_json::json;

use super::*;
use crate::backends::comfyui::convert::tests::{KNOWN, drawn};
use crate::backends::comfyui::nodes::Nodes;
use crate::config::Config;

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn answers(paths: &[(&'static str, serde_json::Value)]) -> Router {
    paths.iter().fold(Router::new(), |router, (path, value)| {
        let text = value.to_string();
        router.route(path, get(move || async move { text }))
    })
}

fn comfyui() -> Router {
    let stats = json!({ "system": { "comfyui_version": "0.3.64" }, "devices": [] });
    // In the order in which it is declared.
    answers(&[("/system_stats", stats)]).route("/object_info", get(|| async { KNOWN }))
}

fn automatic1111() -> Router {
    answers(&[
        (
            "/sdapi/v1/sd-models",
            json!([{ "title": "x", "model_name": "v1-5" }, { "model_name": "sd_xl_base_1.0" }]),
        ),
        (
            "/sdapi/v1/options",
            json!({ "sd_model_checkpoint": "sd_xl_base_1.0.safetensors [31e35c80fc]" }),
        ),
    ])
}

fn sd_server() -> Router {
    // It speaks the other protocols as well.
    let own = answers(&[(
        "/sdcpp/v1/capabilities",
        json!({ "model": { "name": "sd_turbo.gguf" }, "current_mode": "img_gen" }),
    )]);
    own.merge(automatic1111())
}

fn open_ai() -> Router {
    answers(&[(
        "/v1/models",
        json!({ "object": "list", "data": [{ "id": "black-forest-labs/FLUX.1-dev" }] }),
    )])
}

#[tokio::test]
async fn every_program_is_recognised_with_its_models() {
    for (router, kind, models) in [
        (comfyui(), Kind::ComfyUi, &["sd_xl_base_1.0.safetensors", "sd_turbo.safetensors"][..]),
        (automatic1111(), Kind::Automatic1111, &["sd_xl_base_1.0", "v1-5"]),
        (sd_server(), Kind::SdServer, &["sd_turbo.gguf"]),
        (open_ai(), Kind::OpenAi, &["black-forest-labs/FLUX.1-dev"]),
    ] {
        let address = serve(router).await;
        let found = recognise(&address).await.unwrap();
        assert_eq!(
            (found.kind, &found.models[..]),
            (kind, &models.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
        );
        assert_eq!(found.url, format!("http://{address}"));
    }
    let address = serve(open_ai()).await;
    let found = recognise(&format!("http://me:pass%20word@{address}/")).await.unwrap();
    assert_eq!(
        (found.secret.as_deref(), found.url),
        (Some("me:pass word"), format!("http://{address}"))
    );
    let found = recognise(&format!("http://:key@{address}/")).await.unwrap();
    assert_eq!(found.secret.as_deref(), Some("key"));
}

#[tokio::test]
async fn whatever_else_answers_is_told_in_a_sentence_with_what_to_do() {
    let page = || async { Html("<!doctype html><title>Log in</title>") };
    let away = || async { Redirect::temporary("/login").into_response() };
    let denied = || async { StatusCode::UNAUTHORIZED };
    let own = answers(&[("/openapi.json", json!({ "info": { "title": "atelier" } }))]);
    let cases = [
        (Router::new().fallback(page), "a web page answers: start AUTOMATIC1111 with --api"),
        (Router::new().fallback(away), "a web page answers"),
        (Router::new().fallback(denied), "http://USER:PASSWORD@HOST:PORT"),
        (Router::new(), "none of ComfyUI, AUTOMATIC1111, sd-server"),
        (own, "a gateway of this kind itself"),
    ];
    for (router, part) in cases {
        let address = serve(router).await;
        let problem = recognise(&address).await.unwrap_err();
        assert!(
            problem.starts_with(&format!("http://{address}: ")) && problem.contains(part),
            "{problem}"
        );
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let problem = recognise(&address).await.unwrap_err();
    assert!(problem.contains("start the program there"), "{problem}");
    assert!(recognise("ftp://x").await.unwrap_err().contains("http://HOST:PORT"));
}

/// Writes a draft into a folder and reads it as the gateway does.
fn configured(draft: &Draft) -> (Config, String) {
    let folder = tempfile::tempdir().unwrap();
    for file in draft.files() {
        std::fs::write(folder.path().join(&file.name), &file.text).unwrap();
    }
    let text = draft.text(folder.path(), &BTreeMap::new());
    let config =
        Config::parse("atelier.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for server in &config.servers {
        if let Err(error) = crate::config::connect(server, &config) {
            panic!("{error}\n{text}");
        }
    }
    (config, text)
}

#[tokio::test]
async fn the_draft_for_all_kinds_at_once_is_a_configuration() {
    let mut found = Vec::new();
    for router in [comfyui(), automatic1111(), sd_server(), open_ai(), comfyui()] {
        found.push(recognise(&serve(router).await).await.unwrap());
    }
    found[3].secret = Some("key".into());
    let draft = Draft::new(&found, &[], &[]).unwrap();
    let (config, text) = configured(&draft);
    let names: Vec<_> =
        config.servers.iter().map(|server| server.name.get_ref().as_str()).collect();
    assert_eq!(names, ["comfyui", "automatic1111", "sdcpp", "openai", "comfyui-2"]);
    let models: Vec<_> = config.models.iter().map(|model| model.name.get_ref().as_str()).collect();
    assert_eq!(models, ["sd_xl_base_1.0", "sd_turbo", "v1-5", "black-forest-labs/FLUX.1-dev"]);
    assert_eq!(config.models[1].max_steps.map(Steps::get), Some(8), "{text}");
    assert_eq!(config.defaults.width.get(), 1024);
    let files: Vec<_> = draft.files().into_iter().map(|file| (file.name, file.secret)).collect();
    let built_in = ["comfyui", "comfyui-2"]
        .map(|name| [format!("{name}.workflow.json"), format!("{name}-few-steps.workflow.json")]);
    let [first, second] = built_in.map(|names| names.map(|name| (name, false)));
    assert_eq!(files, [&first[..], &[("openai.secret".to_string(), true)], &second[..]].concat());
}

#[tokio::test]
async fn one_model_needs_no_names_and_an_own_workflow_in_either_format_is_taken() {
    let server = recognise(&serve(comfyui()).await).await.unwrap();
    let file = |name: &str, model: Option<&str>| WorkflowFile {
        file: name.into(),
        model: model.map(Into::into),
        text: drawn().to_string(),
    };
    let draft = Draft::new(std::slice::from_ref(&server), &[file("mine.json", None)], &[]).unwrap();
    let (config, text) = configured(&draft);
    assert!(config.models.is_empty() && config.servers[0].models.is_empty(), "{text}");
    assert_eq!(config.servers[0].max_steps.map(Steps::get), Some(8), "it is a turbo model");
    let inputs = &draft.inputs()[0].1;
    let prompt = ["prompt", "6.text", "CLIPTextEncode \"Positive\""].map(String::from);
    assert!(inputs.contains(&prompt), "{inputs:?}");
    // Two for one model, and two models.
    let two = [file("a.json", None), file("b.json", None)];
    let problem = Draft::new(std::slice::from_ref(&server), &two, &[]).unwrap_err();
    assert!(
        problem.starts_with("b.json: ") && problem.contains("allowed is one for each model"),
        "{problem}"
    );
    let two = [file("a.json", None), file("b.json", Some("barns"))];
    let (config, text) = configured(&Draft::new(std::slice::from_ref(&server), &two, &[]).unwrap());
    assert_eq!(config.models.len(), 2, "{text}");
    // What is wrong with a file is said with its name.
    let seed: NamedInput = "seed=3.sead".parse().unwrap();
    let problem =
        Draft::new(std::slice::from_ref(&server), &[file("a.json", None)], &[seed]).unwrap_err();
    assert_eq!(problem, "a.json: seed = 3.sead: there is no such input");
    let broken = WorkflowFile { text: "[]".into(), ..file("a.json", None) };
    assert!(
        Draft::new(&[server], &[broken], &[]).unwrap_err().contains("a.json: it is no workflow")
    );
    let other = recognise(&serve(open_ai()).await).await.unwrap();
    assert!(
        Draft::new(&[other], &[file("a.json", None)], &[])
            .unwrap_err()
            .contains("none of the addresses")
    );
    assert!("steps".parse::<NamedInput>().unwrap_err().contains("NAME=NODE.INPUT"));
}

#[test]
fn speeds_that_were_not_measured_say_why() {
    let from = Recognised {
        url: "http://127.0.0.1:1234".into(),
        kind: Kind::SdServer,
        models: Vec::new(),
        secret: None,
        nodes: Nodes::default(),
    };
    let draft = Draft::new(&[from], &[], &[]).unwrap();
    let failed =
        BTreeMap::from([("sdcpp".to_string(), Err("Not measured: it ran out of memory.".into()))]);
    let text = draft.text(Path::new(""), &failed);
    assert!(
        text.contains("# Not measured: it ran out of memory.\nsteps_per_second = 5.0\n"),
        "{text}"
    );
}
