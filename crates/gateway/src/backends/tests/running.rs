//! What happens while a job runs: progress, cancelling, finding it again.

use tokio_tungstenite::tungstenite::Message;

use super::*;

#[tokio::test]
async fn comfyui_tells_progress_and_previews_whatever_else_its_socket_says() {
    let (stand_in, url) = stand_in().await;
    let ours = job(1).uuid().to_string();
    let progress = |value: u32, max: u32, prompt: &str, node: &str| {
        let data = json!({ "value": value, "max": max, "prompt_id": prompt, "node": node });
        Message::Text(json!({ "type": "progress", "data": data }).to_string().into())
    };
    let first = vec![
        Message::Text("{\"type\": \"status\"".into()),
        Message::Text("{\"type\": \"progress\", \"data\": [1, 2]}".into()),
        Message::Binary(vec![0, 0, 0, 1, 255].into()),
        Message::Binary(b"\0\0\0\x01\0\0\0\x01\xff\xd8\xff\xe0".to_vec().into()),
        Message::Binary(b"\0\0\0\x01\0\0\0\x01<svg>".to_vec().into()),
        progress(22, 23, "another prompt", "3"),
        progress(9, 10, &ours, "upscaler"),
        progress(7, 23, &ours, "3"),
    ];
    // The connection is cut; the next one starts further back.
    let again = vec![progress(5, 23, &ours, "3"), progress(23, 23, &ours, "3")];
    *stand_in.sockets.lock().unwrap() = vec![again, first];
    *stand_in.mood.lock().unwrap() = Mood::Hang;
    let notes = Arc::new(Notes::default());
    let call = tokio::spawn({
        let (backend, notes) = (backend("comfyui", &url), notes.clone());
        async move { backend.generate(&job(1), &*notes).await }
    });
    let all = async {
        while notes.0.lock().unwrap().0.len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_mins(1), all).await;
    assert!(told.is_ok(), "told: {:?}", notes.0.lock().unwrap().0);
    *stand_in.mood.lock().unwrap() = Mood::Faithful;
    picture::check(&call.await.unwrap().unwrap().png, 16, 16).unwrap();
    assert_eq!(notes.0.lock().unwrap().0, [7.0 / 23.0, 1.0]);
    let previews = notes.1.lock().unwrap();
    assert_eq!(previews.len(), 1, "what is no picture is none");
    assert_eq!(&previews[0].bytes()[..], b"\xff\xd8\xff\xe0");
    let seen = stand_in.seen.lock().unwrap();
    let (_, asked) = seen.iter().find(|(path, _)| path == "/prompt").unwrap();
    assert_eq!(asked["client_id"], ours, "progress is told to whoever handed the prompt in");
    assert!(seen.iter().any(|(path, _)| *path == format!("/ws?clientId={ours}")));
}

#[tokio::test]
async fn comfyui_cancels_by_name() {
    let (stand_in, url) = stand_in().await;
    let backend = backend("comfyui", &url);
    let (mine, other) = (job(1).uuid().to_string(), job(2).uuid().to_string());
    stand_in.jobs.lock().unwrap().insert(other, 100);
    assert_eq!(backend.cancel(&job(1), None).await, Ok(Cancelled::Stopped));
    stand_in.jobs.lock().unwrap().insert(mine.clone(), 100);
    assert_eq!(backend.cancel(&job(1), None).await, Ok(Cancelled::Stopping));
    let seen = stand_in.seen.lock().unwrap();
    let interrupts: Vec<_> = seen.iter().filter(|(path, _)| path == "/interrupt").collect();
    assert_eq!(interrupts.len(), 1, "not while another job runs");
    assert_eq!(interrupts[0].1, json!({ "prompt_id": mine }));
}

#[tokio::test]
async fn automatic1111_tells_progress_shows_previews_and_interrupts_only_its_own_task() {
    let (stand_in, url) = stand_in().await;
    let backend = backend("automatic1111", &url);
    *stand_in.mood.lock().unwrap() = Mood::Hang;
    let notes = Arc::new(Notes::default());
    let call = tokio::spawn({
        let (backend, notes) = (backend.clone(), notes.clone());
        async move { backend.generate(&job(1), &*notes).await }
    });
    while stand_in.active.lock().unwrap().is_none() || notes.0.lock().unwrap().0.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(notes.0.lock().unwrap().0[0], 0.4);
    // The same preview is not sent again.
    while notes.0.lock().unwrap().0.len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let previews = notes.1.lock().unwrap().clone();
    assert_eq!(previews.len(), 1);
    assert_eq!(&previews[0].bytes()[..], b"\xff\xd8\xff\xe0");
    let interrupts = || {
        let seen = stand_in.seen.lock().unwrap();
        seen.iter().filter(|(path, _)| path == "/sdapi/v1/interrupt").count()
    };
    // Another attempt is not what runs there.
    backend.cancel(&job(2), None).await.unwrap();
    assert_eq!(interrupts(), 0);
    assert_eq!(backend.cancel(&job(1), None).await, Ok(Cancelled::Stopping));
    assert_eq!(interrupts(), 1);
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn jobs_with_names_are_found_again_after_a_restart() {
    for (kind, ticket) in [("sdcpp", Some("job-1")), ("comfyui", None)] {
        let (stand_in, url) = stand_in().await;
        let id = ticket.map_or_else(|| job(1).uuid().to_string(), String::from);
        stand_in.jobs.lock().unwrap().insert(id, 2);
        let backend = backend(kind, &url);
        let painted = backend.look_up(&job(1), ticket, &Notes::default()).await.unwrap();
        picture::check(&painted.png, 16, 16).unwrap();
        // Another attempt never ran there.
        let other = ticket.map(|_| "job-2");
        let lost = backend.look_up(&job(2), other, &Notes::default()).await;
        assert_eq!(lost, Err(BackendError::Unknown), "{kind}");
    }
}
