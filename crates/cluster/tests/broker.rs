//! The files of a cell, given to real brokers.
//!
//! ```sh
//! ATELIER_NATS_SERVER=/usr/bin/nats-server cargo test --test broker -- --ignored
//! ```

mod cell;

use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use nkeys::KeyPair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::cell::{Running, User, options, within};

const LOG: &str = "LOG_c";
const LOG_SUBJECT: &str = "at.c.log";

/// The stream of the log, with a record in it.
async fn log(node: &User) -> jetstream::Context {
    let mut context = jetstream::new(node.client.clone());
    // Nobody answers before the brokers have chosen who leads.
    context.set_timeout(Duration::from_secs(1));
    let config = jetstream::stream::Config {
        name: LOG.into(),
        subjects: vec![LOG_SUBJECT.into()],
        num_replicas: 3,
        ..Default::default()
    };
    within("a stream of three replicas", async || context.create_stream(config.clone()).await.ok())
        .await;
    let sent = context.publish(LOG_SUBJECT, "record".into()).await.unwrap();
    assert_eq!(sent.await.unwrap().sequence, 1);
    context
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn three_brokers_are_one_cell() {
    let running = Running::start(&[]);
    let node = running.node(0).await;
    let context = log(&node).await;
    let stream = context.get_stream(LOG).await.unwrap();
    let cluster = stream.get_info().await.unwrap().cluster.unwrap();
    assert_eq!((cluster.name.as_deref(), cluster.replicas.len()), (Some("c"), 2));

    let lease = jetstream::kv::Config {
        bucket: "LEASE_c".into(),
        max_age: Duration::from_secs(3),
        num_replicas: 3,
        ..Default::default()
    };
    let lease = context.create_key_value(lease).await.unwrap();
    let revision = lease.create("leader", "n1".into()).await.unwrap();
    assert!(lease.create("leader", "n2".into()).await.is_err());
    lease.update("leader", "n1".into(), revision).await.unwrap();

    for position in 0..3 {
        let mut node = running.node(position).await;
        for subject in ["at.d.log", "$SYS.REQ.SERVER.PING", "other"] {
            node.may_not_publish(subject).await;
            node.may_not_subscribe(subject).await;
        }
        let told = running.monitor(position, "/varz").await;
        assert_eq!(told["jetstream"]["config"]["sync_always"], true);
        assert_eq!(told["max_payload"], 8 << 20);
        assert_eq!(told["server_name"], running.names()[position]);
        let told = running.monitor(position, "/jsz").await;
        assert_eq!(told["meta_cluster"]["cluster_size"], 3);
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn strangers_are_refused() {
    let running = Running::start(&[]);
    running.node(0).await;

    let anonymous = options(None, &running.authority()).connect(running.url(0)).await;
    let problem = anonymous.unwrap_err().to_string();
    assert!(problem.contains("authorization violation"), "{problem}");

    let seed = KeyPair::new_user().seed().unwrap();
    let wrong = options(Some(&seed), &running.authority()).connect(running.url(0)).await;
    let problem = wrong.unwrap_err().to_string();
    assert!(problem.contains("authorization violation"), "{problem}");

    // Whoever trusts another cell does not trust these brokers.
    let other = tempfile::tempdir().unwrap();
    let plan =
        cluster::setup::Plan { cell: "d".into(), nodes: vec!["n1=localhost".parse().unwrap()] };
    cluster::setup::init(other.path(), &plan).unwrap();
    let authority = other.path().join("authority.pem");
    let problem = options(None, &authority).connect(running.url(0)).await.unwrap_err();
    assert!(problem.to_string().contains("UnknownIssuer"), "{problem}");

    // Without encryption neither clients nor brokers are heard.
    for port in [running.port(0), running.port(0) + 2000] {
        let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        plain.write_all(b"CONNECT {\"verbose\":true}\r\nPING\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("+OK") && !answer.contains("PONG"), "{answer}");
        assert!(answer.is_empty() || answer.contains("\"tls_required\":true"), "{answer}");
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn agents_have_their_own_subjects_alone() {
    let running = Running::start(&[("a", &["s1", "s2"]), ("b", &["s3"])]);
    let node = running.node(0).await;
    log(&node).await;
    let mut agent = running.agent("a", 1).await;

    for subject in [
        "at.c.up.s3.done",
        "at.c.down.s1.run",
        "at.c.down.s3.run",
        "at.c.rpc.submit",
        LOG_SUBJECT,
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.DELETE.LOG_c",
        "$JS.API.STREAM.MSG.GET.LOG_c",
        "$JS.API.DIRECT.GET.LOG_c",
        "$JS.API.CONSUMER.CREATE.LOG_c",
        "$JS.ACK.LOG_c.x",
        "$KV.LEASE_c.leader",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.x",
    ] {
        agent.may_not_publish(subject).await;
    }
    for subject in [
        "at.c.down.s3.>",
        "at.c.down.*.run",
        "at.c.down.>",
        "at.c.up.s1.>",
        "at.c.>",
        LOG_SUBJECT,
        "$JS.>",
        "$KV.>",
        "$SYS.>",
        "_INBOX.>",
        ">",
    ] {
        agent.may_not_subscribe(subject).await;
    }

    // What is its own: it is asked and answers, it speaks and is heard.
    let mut down = agent.client.subscribe("at.c.down.s1.>").await.unwrap();
    agent.client.flush().await.unwrap();
    let answering = agent.client.clone();
    let answers = tokio::spawn(async move {
        let asked = down.next().await.unwrap();
        answering.publish(asked.reply.unwrap(), "yes".into()).await.unwrap();
        answering.flush().await.unwrap();
    });
    let answer = within("an answer", async || {
        node.client.request("at.c.down.s1.run", "run".into()).await.ok()
    });
    assert_eq!(answer.await.payload, "yes");
    answers.await.unwrap();
    let mut up = node.client.subscribe("at.c.up.s1.>").await.unwrap();
    node.client.flush().await.unwrap();
    let heard = within("what the agent says", async || {
        agent.client.publish("at.c.up.s1.done", "picture".into()).await.unwrap();
        tokio::time::timeout(Duration::from_millis(200), up.next()).await.ok().flatten()
    });
    assert_eq!(heard.await.payload, "picture");

    // Where an answer goes is the asker's choice: whoever answers an agent looks at it first.
    let elsewhere = "$JS.API.STREAM.DELETE.LOG_c";
    agent.client.publish_with_reply("at.c.up.s1.trap", elsewhere, "x".into()).await.unwrap();
    let trap = loop {
        let heard = up.next().await.unwrap();
        if heard.subject.ends_with(".trap") {
            break heard;
        }
    };
    assert_eq!(trap.reply.unwrap().as_str(), elsewhere);
    agent.is_not_refused();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn an_agent_may_ask_where_its_inbox_is_its_own() {
    let running = Running::start(&[("a", &["s1"])]);
    let node = running.node(0).await;
    let mut up = node.client.subscribe("at.c.up.s1.>").await.unwrap();
    let answering = node.client.clone();
    tokio::spawn(async move {
        while let Some(asked) = up.next().await {
            answering.publish(asked.reply.unwrap(), "confirmed".into()).await.unwrap();
        }
    });
    let mut agent =
        running.agent_with("a", 1, |o| o.custom_inbox_prefix("at.c.down.s1.inbox")).await;
    let answer = within("a confirmation", async || {
        agent.client.request("at.c.up.s1.done", "picture".into()).await.ok()
    });
    assert_eq!(answer.await.payload, "confirmed");
    agent.is_not_refused();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn a_removed_agent_is_cut_off_at_once() {
    let running = Running::start(&[]);
    let mut node = running.node(0).await;
    let context = log(&node).await;
    running.add("a", &["s1"]);
    running.add("b", &["s2"]);
    let (seed, authority) = (running.seed("a"), running.authority());
    let early = options(Some(&seed), &authority).connect(running.url(1)).await;
    assert!(early.is_err(), "the brokers have not been told yet");

    running.reload();
    let mut gone = running.agent("a", 1).await;
    let mut stays = running.agent("b", 1).await;
    cluster::setup::remove_agent(running.folder(), "a").unwrap();
    running.reload();
    gone.sees("disconnected").await;
    gone.sees("authorization violation").await;
    for position in 0..3 {
        let again = options(Some(&seed), &authority).connect(running.url(position)).await;
        let problem = again.unwrap_err().to_string();
        assert!(problem.contains("authorization violation"), "{problem}");
    }
    stays.client.publish("at.c.up.s2.done", "picture".into()).await.unwrap();
    stays.client.flush().await.unwrap();
    stays.is_not_refused();
    let sent = context.publish(LOG_SUBJECT, "record".into()).await.unwrap();
    assert_eq!(sent.await.unwrap().sequence, 2);
    node.is_not_refused();
}
