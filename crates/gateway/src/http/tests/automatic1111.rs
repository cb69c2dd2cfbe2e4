//! The requests that clients of AUTOMATIC1111's web UI send, written from what their sources do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

/// The picture in base64 and what is told of it.
fn drawn(answer: &Answer) -> (Vec<Vec<u8>>, Value) {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let body = answer.json();
    document::check("Txt2ImgAnswer", &body);
    let pictures = body["images"].as_array().unwrap().iter();
    let pictures = pictures.map(|picture| BASE64.decode(picture.as_str().unwrap()).unwrap());
    (pictures.collect(), serde_json::from_str(body["info"].as_str().unwrap()).unwrap())
}

#[tokio::test]
async fn librechat() {
    let t = start("").await;
    let body = json!({
        "prompt": "a lighthouse at dusk", "negative_prompt": "people", "cfg_scale": 4.5, "steps": 22,
        "width": 200, "height": 104,
    });
    let (pictures, info) = drawn(&t.post("/sdapi/v1/txt2img", &body).await);
    assert_eq!(pictures.len(), 1);
    picture::check(&pictures[0], 200, 104).unwrap();
    assert_eq!((&info["width"], &info["height"]), (&json!(200), &json!(104)));
    let text = info["infotexts"][0].as_str().unwrap();
    let last = text.lines().last().unwrap();
    let seed = info["seed"].as_u64().unwrap();
    assert_eq!(
        last,
        format!("Steps: 22, Sampler: Automatic, Seed: {seed}, Size: 200x104, Model: atelier")
    );
    let steps = t.get("/v1/requests").await.json()["requests"][0]["result"]["steps"].clone();
    assert_eq!(steps, 22, "the policy would have given 30");
}

#[tokio::test]
async fn sillytavern() {
    let t = start("").await;
    // What it fills its menus with.
    for path in
        ["upscalers", "latent-upscale-modes", "sd-vae", "samplers", "schedulers", "sd-models"]
    {
        let answer = t.get(&format!("/sdapi/v1/{path}")).await;
        assert!(answer.status == 200 && answer.json().is_array(), "{path}");
    }
    assert_eq!(t.get("/sdapi/v1/options").await.json()["sd_model_checkpoint"], "atelier");
    // Then it waits until that is loaded.
    let chosen = t.post("/sdapi/v1/options", &json!({ "sd_model_checkpoint": "atelier" })).await;
    assert_eq!((chosen.status, chosen.json()), (200, Value::Null));
    let progress = t.get("/sdapi/v1/progress").await.json();
    assert_eq!((&progress["progress"], &progress["state"]["job_count"]), (&json!(0.0), &json!(0)));
    // Its own settings go along with the body.
    let body = json!({
        "url": "http://localhost:8420", "auth": "", "prompt": "x", "negative_prompt": "",
        "sampler_name": "DDIM", "scheduler": "Automatic", "steps": 20, "cfg_scale": 7, "width": 16,
        "height": 16, "restore_faces": false, "enable_hr": false, "hr_upscaler": "Latent",
        "hr_scale": 2, "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": -1,
        "override_settings": { "CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic" },
        "override_settings_restore_afterwards": true, "clip_skip": 1, "save_images": true,
        "send_images": true, "do_not_save_grid": false, "do_not_save_samples": false,
    });
    let (pictures, _) = drawn(&t.post("/sdapi/v1/txt2img", &body).await);
    picture::check(&pictures[0], 16, 16).unwrap();
}

#[tokio::test]
async fn open_webui_risuai_and_text_generation_webui() {
    let t = start("").await;
    // It sends back all options that it was told, with another checkpoint.
    let options = t.get("/sdapi/v1/options").await.json();
    document::check("Options", &options);
    assert_eq!(t.post("/sdapi/v1/options", &options).await.status, 200);
    for body in [
        json!({ "prompt": "x", "batch_size": 2, "width": 16, "height": 24, "steps": 5 }),
        json!({
            "width": 16, "height": 24, "seed": -1, "steps": 30, "cfg_scale": 7, "prompt": "x",
            "negative_prompt": "", "sampler_name": "Euler a", "enable_hr": false,
            "denoising_strength": 0.7, "hr_scale": 1.25, "hr_upscaler": "Latent", "n_iter": 2,
        }),
        json!({
            "prompt": "x", "seed": -1, "sampler_name": "DPM++ 2M", "enable_hr": false,
            "hr_scale": "1.0", "hr_upscaler": "ESRGAN_4x", "denoising_strength": 0.61, "steps": 32.0,
            "cfg_scale": 7, "width": 23, "height": 24, "restore_faces": false, "batch_size": 2,
            "override_settings_restore_afterwards": true, "negative_prompt": "blurred",
        }),
    ] {
        let (pictures, info) = drawn(&t.post("/sdapi/v1/txt2img", &body).await);
        assert_eq!(pictures.len(), 2);
        for png in &pictures {
            picture::check(png, 16, 24).unwrap();
        }
        let seeds: Vec<_> = info["all_seeds"].as_array().unwrap().iter().collect();
        assert_ne!(seeds[0], seeds[1]);
    }
}

#[tokio::test]
async fn what_asks_for_another_picture_is_refused_and_so_is_nonsense() {
    let t = start("").await;
    let check = async |body: Value, field: &str, said: &str| {
        let answer = t.post("/sdapi/v1/txt2img", &body).await;
        let told = answer.json();
        document::check("Automatic1111Error", &told);
        assert_eq!((answer.status, &told["error"]), (422, &json!("invalid_field")), "{told}");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("{field}: ")) && detail.contains(said), "{detail}");
    };
    check(json!({ "enable_hr": true }), "enable_hr", "allowed is false").await;
    check(json!({ "restore_faces": true }), "restore_faces", "allowed is false").await;
    check(json!({ "tiling": true }), "tiling", "allowed is false").await;
    check(json!({ "script_name": "x/y plot" }), "script_name", "no scripts").await;
    check(json!({ "batch_size": 4, "n_iter": 3 }), "batch_size", "12 pictures").await;
    check(json!({ "n_iter": 0 }), "batch_size", "0 pictures").await;
    check(json!({ "steps": 0 }), "steps", "1 to 200").await;
    check(json!({ "steps": "many" }), "steps", "whole number").await;
    check(json!({ "seed": -2 }), "seed", "-1 for any seed").await;
    check(json!({ "width": 7 }), "width", "8").await;
    check(json!({ "width": 512, "height": 512 }), "width", "65536").await;
    check(json!({ "prompt": 1 }), "prompt", "a string").await;
    let none = t.post("/sdapi/v1/img2img", &json!({})).await;
    assert_eq!((none.status, &none.json()["error"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn steps_are_a_bound_or_an_order_as_configured() {
    for (faces, asked, given) in [
        ("", 12, 12),
        ("", 150, 30),
        ("", 500, 30),
        ("[faces.automatic1111]\nsteps = \"exactly\"\n", 12, 12),
        ("[faces.automatic1111]\nsteps = \"exactly\"\n", 150, 150),
    ] {
        let t = start(faces).await;
        let body = json!({ "prompt": "x", "steps": asked, "seed": 9_000_000_000_000_000_000_u64 });
        let (_, info) = drawn(&t.post("/sdapi/v1/txt2img", &body).await);
        assert_eq!(info["steps"], given, "{faces}{asked}");
        assert_eq!(info["seed"], 9_000_000_000_000_000_000_u64);
    }
    let t = start("[faces.automatic1111]\nsteps = \"exactly\"\n").await;
    let refused = t.post("/sdapi/v1/txt2img", &json!({ "steps": 500 })).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test]
async fn a_checkpoint_is_chosen_by_its_caller_for_itself() {
    let hosts = ["a", "b"].map(|name| {
        format!(
            "[[server]]\nname = \"{name}\"\nsteps_per_second = 10.0\n\
             models = {{ sd15 = {{}}, sdxl = {{}} }}\nbackend = {{ kind = \"demo\" }}\n"
        )
    });
    let text = format!(
        "policy = \"greedy\"\n[defaults]\nwidth = 16\nheight = 16\n[[model]]\nname = \"sd15\"\n\
         [[model]]\nname = \"sdxl\"\n{}{KEYS}",
        hosts.concat()
    );
    let t = start_as(tempfile::tempdir().unwrap(), &text, |_| ());
    t.ready().await;
    let of = |key: &'static str| [("authorization", key)];
    // ann:alice and bob:bob
    let [ann, bob] = [of("Basic YW5uOmFsaWNl"), of("Basic Ym9iOmJvYg==")];
    let post = async |who: &[(&str, &str)], path: &str, body: Value| {
        t.send(Method::POST, &format!("/sdapi/v1/{path}"), who, &body).await
    };
    let current = async |who: &[(&str, &str)]| {
        let options = t.send(Method::GET, "/sdapi/v1/options", who, &Value::Null).await.json();
        options["sd_model_checkpoint"].clone()
    };
    assert_eq!(post(&ann, "options", json!({ "sd_model_checkpoint": "sdxl" })).await.status, 200);
    assert_eq!((current(&ann).await, current(&bob).await), (json!("sdxl"), json!("sd15")));
    let unknown = post(&ann, "options", json!({ "sd_model_checkpoint": "flux" })).await;
    assert_eq!((unknown.status, &unknown.json()["error"]), (404, &json!("model_not_found")));
    let drawn_with = async |who: &[(&str, &str)], body: Value| {
        let (_, info) = drawn(&post(who, "txt2img", body).await);
        info["sd_model_name"].clone()
    };
    assert_eq!(drawn_with(&ann, json!({ "prompt": "x" })).await, "sdxl");
    assert_eq!(drawn_with(&bob, json!({ "prompt": "x" })).await, "sd15");
    let once = json!({ "override_settings": { "sd_model_checkpoint": "sd15" } });
    assert_eq!(drawn_with(&ann, once).await, "sd15");
    assert_eq!(current(&ann).await, "sdxl");
    // Whoever is not let in is told how to ask here.
    let stranger = post(&[], "txt2img", json!({})).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.headers["www-authenticate"], "Basic realm=\"atelier\"");
    assert_eq!(stranger.json()["error"], "unknown_key");
}

#[tokio::test]
async fn progress_and_interrupt_are_of_the_callers_own_pictures() {
    let t = start(KEYS).await;
    let ann = [("authorization", "Bearer alice")];
    let bob = [("authorization", "Bearer bob")];
    let progress = async |who: &[(&str, &str)]| {
        let answer = t.send(Method::GET, "/sdapi/v1/progress", who, &Value::Null).await.json();
        document::check("Progress", &answer);
        answer["state"]["job_count"].as_u64().unwrap()
    };
    let interrupt = async |who: &[(&str, &str)]| {
        t.send(Method::POST, "/sdapi/v1/interrupt", who, &Value::Null).await.status
    };
    t.scripts.iter().for_each(|script| script.0.lock().unwrap().push_back(Act::Hang));
    let body = json!({ "prompt": "x" });
    let long = t.send(Method::POST, "/sdapi/v1/txt2img", &ann, &body);
    let looked = async {
        while progress(&ann).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((progress(&bob).await, interrupt(&bob).await), (0, 200));
        assert_eq!((progress(&ann).await, interrupt(&ann).await), (1, 200));
    };
    let (answer, ()) = tokio::join!(long, looked);
    assert_eq!((answer.status, &answer.json()["error"]), (502, &json!("failed")));
    let requests = t.send(Method::GET, "/v1/requests", &ann, &Value::Null).await.json();
    assert_eq!(requests["requests"][0]["state"], "cancelled");
    assert_eq!(progress(&ann).await, 0);
}
