use scheduling::{Beyond, Model, RowOutcome};
use serde_json::{Value, json};

use super::*;

fn row(request: usize, server: usize) -> Row {
    let arrival = request as f64;
    Row {
        request,
        server,
        steps: 20,
        arrival,
        start: arrival + 0.1 + 0.2,
        finish: arrival + 2.0,
        due: arrival + 1.5,
        tardiness: 0.5,
        penalty: 0.25,
        quality: 12.5,
        reward: 12.125,
        beyond: None,
    }
}

fn schedule(name: &str, rows: Vec<Row>) -> Schedule {
    Schedule { name: name.into(), rows, models: vec!["sd15".into(), "sdxl".into()] }
}

fn two(name: &str) -> Schedule {
    schedule(name, vec![row(0, 1), row(1, 0)])
}

fn instance() -> Instance {
    let text = r#"{"servers": [{"name": "s0", "steps_per_second": 15.2},
                               {"name": "s1", "steps_per_second": 4.0}],
                   "requests": [{"arrival": 0.0, "due": 1.5, "penalty": "linear"},
                                {"arrival": 1.0, "due": 2.5, "penalty": "linear"}],
                   "tardiness_weight": 1.5}"#;
    Instance::from_json(text).unwrap()
}

fn shown(schedules: Vec<Schedule>, instance: Option<&Instance>) -> Value {
    serde_json::from_slice(&Replay::new(schedules, instance).unwrap().json).unwrap()
}

#[test]
fn schedules_are_shown_by_column() {
    let mut backwards = two("myopic");
    backwards.rows.reverse();
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "tardiness_weight": null,
        "schedules": [{
            "name": "myopic",
            "servers": ["server 0", "server 1"],
            "requests": {
                "server": [1, 0], "steps": [20, 20], "arrival": [0.0, 1.0],
                "start": [0.1 + 0.2, 1.0 + 0.1 + 0.2], "finish": [2.0, 3.0], "due": [1.5, 2.5],
                "tardiness": [0.5, 0.5], "penalty": [0.25, 0.25], "quality": [12.5, 12.5],
                "reward": [12.125, 12.125],
            },
        }],
    });
    assert_eq!(shown(vec![backwards], None), expected);
}

#[test]
fn an_instance_names_servers_and_weight() {
    let shown = shown(vec![two("a"), schedule("b", vec![row(0, 0), row(1, 0)])], Some(&instance()));
    assert_eq!(shown["tardiness_weight"], 1.5);
    for (schedule, name) in [(0, "a"), (1, "b")] {
        let schedule = &shown["schedules"][schedule];
        assert_eq!(schedule["name"], name);
        assert_eq!(schedule["servers"], json!(["s0", "s1"]));
        assert_eq!(schedule["steps_per_second"], json!([15.2, 4.0]));
    }
}

#[test]
fn without_an_instance_both_schedules_have_the_same_servers() {
    let shown = shown(vec![two("a"), schedule("b", vec![row(0, 2), row(1, 0)])], None);
    for schedule in [0, 1] {
        let servers = &shown["schedules"][schedule]["servers"];
        assert_eq!(servers, &json!(["server 0", "server 1", "server 2"]));
    }
}

#[test]
fn what_the_papers_world_has_not_is_shown_where_it_is_given() {
    let beyond = |model, outcome| {
        Some(Beyond { model: Model(model), size: 4.0, load: 9.5, attempts: 2, outcome })
    };
    let first = Row { beyond: beyond(1, RowOutcome::Completed), ..row(0, 0) };
    let second = Row { beyond: beyond(0, RowOutcome::Failed), ..row(1, 0) };
    let shown = shown(vec![schedule("a", vec![first, second])], None);
    let requests = &shown["schedules"][0]["requests"];
    for (column, cells) in [
        ("model", json!(["sdxl", "sd15"])),
        ("size", json!([4.0, 4.0])),
        ("load", json!([9.5, 9.5])),
        ("attempts", json!([2, 2])),
        ("outcome", json!(["completed", "failed"])),
    ] {
        assert_eq!(requests[column], cells, "{column}");
    }
}

#[test]
fn what_is_no_schedule_of_the_instance_is_refused_with_the_first_request() {
    let with = |change: fn(&mut Vec<Row>)| {
        let mut changed = two("b");
        change(&mut changed.rows);
        changed
    };
    let late = with(|rows| rows[1].due = 2.75);
    let early = with(|rows| rows[0].arrival = -1.0);
    let more = with(|rows| rows.push(row(2, 0)));
    let fewer = with(|rows| rows.truncate(1));
    for (other, known, message) in [
        (schedule("b", vec![]), false, "b: there are 0 requests: allowed is 1 or more"),
        (with(|rows| rows[0].request = 1), false, "b: request 0 is there 0 times: allowed is once"),
        (with(|rows| rows[1].request = 0), false, "b: request 0 is there 2 times: allowed is once"),
        (
            with(|rows| rows[1].request = usize::MAX),
            false,
            "b: request 1 is there 0 times: allowed is once",
        ),
        (
            with(|rows| rows[1].server = usize::MAX),
            false,
            "b: request 1: server is 18446744073709551615: allowed is 0 to 9999",
        ),
        (with(|rows| rows[1].server = 2), true, "b: request 1: server is 2: allowed is 0 to 1"),
        (
            with(|rows| rows[1].finish = f64::NAN),
            false,
            "b: request 1: finish is NaN: allowed are finite numbers",
        ),
        (late.clone(), false, "b: request 1: due is 2.75: allowed is 2.5, as in a"),
        (late, true, "b: request 1: due is 2.75: allowed is 2.5, as in the instance"),
        (early, false, "b: request 0: arrival is -1: allowed is 0, as in a"),
        (
            more,
            false,
            "b: the number of requests is 3: allowed is 2, as in a; request 2 is in one of them only",
        ),
        (
            fewer,
            true,
            "b: the number of requests is 1: allowed is 2, as in the instance; request 1 is in one \
             of them only",
        ),
    ] {
        let instance = known.then(instance);
        let refused = Replay::new(vec![two("a"), other], instance.as_ref()).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}

#[tokio::test]
async fn an_open_connection_does_not_keep_it_from_ending() {
    use tokio::io::AsyncWriteExt as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let shown = Replay::new(vec![two("a")], None).unwrap();
    let serving = tokio::spawn(replay(shown, listener, async { ended.await.unwrap() }));
    let mut open = tokio::net::TcpStream::connect(address).await.unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    end.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
