//! A gateway that cannot go on says so and ends, or at least promises nothing.

use scheduling::{Decision, Observation, Policy};
use tokio::net::TcpListener;

use super::*;
use crate::RunError;
use crate::journal::{Fate, Journal, JournalError, Record};

/// Runs a gateway with one thing changed and submits a request to it.
async fn ended_by(extra: &str, change: impl FnOnce(&mut World)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "policy = \"myopic\"\n{extra}\n[defaults]\nwidth = 16\nheight = 16\n[[server]]\nname = \"a\"\n\
         steps_per_second = 10.0\nbackend = {{ kind = \"demo\" }}\n"
    );
    let mut config = Config::parse("endings.toml", &text).unwrap();
    config.journal = folder.path().join("journal.db");
    let mut world = World::real(Arc::new(rules));
    change(&mut world);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let address = listener.local_addr().unwrap();
    world.serving = Box::new(move || {
        let _ = tell.send(address);
    });
    let running = crate::run(config, world, listener, std::future::pending());
    let submitting = async {
        let url = format!("http://{}/v1/requests", told.await.unwrap());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        loop {
            let request = http.post(&url).header("content-type", "application/json");
            // It is cut off in the middle, or was refused before a server was there.
            let _ = request.body(red().to_string()).send().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ended = running => match ended {
            Err(RunError::Ended(ended)) => ended.to_string(),
            other => panic!("{other:?}"),
        },
        () = submitting => unreachable!("it goes on until the gateway has ended"),
    }
}

#[tokio::test]
async fn a_part_that_breaks_ends_the_gateway_and_is_named() {
    struct Broken;
    impl Journal for Broken {
        fn append(&mut self, _: &[Record]) -> Result<Vec<Fate>, JournalError> {
            panic!("the journal's thread breaks")
        }
    }
    impl Policy for Broken {
        fn decide(&mut self, _: &Observation<'_>) -> Decision {
            panic!("the engine breaks")
        }
    }
    let ended = ended_by("", |world| world.journal = Box::new(|_| Ok(Box::new(Broken)))).await;
    let said = "the journal's writer has ended: panicked: the journal's thread breaks";
    assert_eq!(ended, said);
    let ended = ended_by("", |world| {
        world.policies = Arc::new(|_, _| Ok(Box::new(Broken)));
    });
    assert_eq!(ended.await, "the engine has ended: panicked: the engine breaks");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_gone_is_noticed_and_nothing_is_acknowledged_any_more() {
    for noticed_by_a_request in [true, false] {
        let t = start("").await;
        let done = t.finish(&red()).await;
        let path = format!("/v1/requests/{}", done["id"].as_str().unwrap());
        t.scripts[0].0.lock().unwrap().push_back(Act::Deliver(0.2));
        t.post("/v1/requests", &red()).await;
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            std::fs::remove_file(t.folder.path().join(name)).unwrap();
        }
        let unavailable = |answer: Answer| {
            let reason = answer.json()["reason"].clone();
            assert_eq!((answer.status, &reason), (503, &json!("journal_unavailable")));
        };
        if noticed_by_a_request {
            unavailable(t.post("/v1/requests", &red()).await);
        } else {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        unavailable(t.get("/readyz").await);
        assert_eq!(t.get("/healthz").await.status, 200, "the process is there to say so");
        let key = [("idempotency-key", "k")];
        unavailable(t.send(Method::POST, "/v1/requests", &key, &red()).await);
        // That there is no such request would be wrong.
        unavailable(t.get(&path).await);
        unavailable(t.get("/v1/requests").await);
        let metrics = String::from_utf8(t.get("/metrics").await.body.to_vec()).unwrap();
        assert!(metrics.contains("atelier_journal_failing 1"), "{metrics}");
        // It still stops when it is told to, and does not wait for what cannot be written.
        let stop = t.gateway.stop(Duration::from_hours(1));
        tokio::time::timeout(Duration::from_mins(1), stop).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_gateway_on_the_journal_is_refused() {
    let t = start("").await;
    let mut config = (*t.gateway.handle.config).clone();
    config.journal = t.folder.path().join("./journal.db");
    let refused = Gateway::start(config, World::real(Arc::new(rules))).err().unwrap().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    assert_eq!(t.finish(&red()).await["state"], "completed", "the first is not disturbed");
}
