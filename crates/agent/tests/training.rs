//! Algorithm 1 learns, can be interrupted, and does not depend on threads; checkpoints keep it whole.

use std::ops::ControlFlow;

use agent::{ActorCritic, Checkpoint, CurvePoint, Hyperparameters, Origin, Recipe, Train};
use scheduling::{
    AgentName, Cluster, Decision, Environment, Generator, Purpose, Seconds, Server, StepRate,
    TardinessPenalty,
};

/// Two servers, and a reward that is best on the one without a backlog, with many steps.
struct Toy {
    lanes: Vec<Generator>,
    backlog: Vec<f32>,
    slack: Vec<f32>,
    penalty: Vec<TardinessPenalty>,
}

impl Toy {
    fn new(lanes: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Generator::new(0, Purpose::Arrival, 0)).collect(),
            backlog: vec![0.0; 2 * lanes],
            slack: vec![10.0; lanes],
            penalty: vec![TardinessPenalty::Linear; lanes],
        }
    }

    fn arrive(&mut self) {
        for (lane, backlog) in self.lanes.iter_mut().zip(self.backlog.chunks_mut(2)) {
            let busy = lane.below(2);
            backlog[busy] = 10.0;
            backlog[1 - busy] = 0.0;
        }
    }
}

impl Environment for Toy {
    fn servers(&self) -> usize {
        2
    }
    fn lanes(&self) -> usize {
        self.lanes.len()
    }
    fn requests(&self) -> usize {
        100
    }
    fn reset(&mut self, first_episode: u64) {
        for (lane, generator) in (first_episode..).zip(&mut self.lanes) {
            *generator = Generator::new(3, Purpose::Arrival, lane);
        }
        self.arrive();
    }
    fn backlog(&self) -> &[f32] {
        &self.backlog
    }
    fn slack(&self) -> &[f32] {
        &self.slack
    }
    fn penalty(&self) -> &[TardinessPenalty] {
        &self.penalty
    }
    fn step(&mut self, decisions: &[Decision], rewards: &mut [f64]) {
        for (lane, (decision, reward)) in decisions.iter().zip(rewards).enumerate() {
            let backlog = f64::from(self.backlog[2 * lane + decision.server]);
            *reward = 40.0 + 0.1 * f64::from(decision.steps.get()) - 2.0 * backlog;
        }
        self.arrive();
    }
}

fn hyperparameters(episodes: u64) -> Hyperparameters {
    Hyperparameters {
        episodes,
        hidden: vec![16, 16],
        learning_rate: 1e-2,
        ..Hyperparameters::default()
    }
}

/// Trains on with the toy until `stop` episodes are done.
fn train(training: &mut ActorCritic, lanes: usize, stop: u64) -> Vec<CurvePoint> {
    let mut curve = Vec::new();
    training.train(&mut Toy::new(lanes), |training, episode| {
        curve.push(*episode);
        if training.episodes >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    curve
}

#[test]
fn learns_a_toy() {
    let mut training = ActorCritic::new(2, 1, hyperparameters(300));
    let curve = train(&mut training, 1, 300);
    let (first, last) = (curve[0].reward, curve[299].reward);
    // At random: 40 + 10 − 10. At best: 40 + 20.
    assert!((35.0..45.0).contains(&first), "{first}");
    assert!(last > 55.0, "{last}");
    assert!(curve[299].entropy < curve[0].entropy);
}

#[test]
fn interrupted_and_resumed_is_the_same_as_uninterrupted() {
    for lanes in [1, 3] {
        let mut whole = ActorCritic::new(2, 5, hyperparameters(30));
        let curve = train(&mut whole, lanes, 30);
        let mut parts = ActorCritic::new(2, 5, hyperparameters(30));
        let mut curve_of_parts = train(&mut parts, lanes, 12);
        assert!(parts != whole);

        let folder = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(parts, curve_of_parts);
        checkpoint.save(folder.path()).unwrap();
        let loaded = Checkpoint::<ActorCritic>::load(folder.path()).unwrap();
        assert_eq!(loaded, checkpoint);

        let mut parts = loaded.training;
        curve_of_parts = loaded.curve;
        curve_of_parts.extend(train(&mut parts, lanes, 30));
        assert!(parts == whole, "{lanes} lanes");
        assert_eq!(curve_of_parts, curve);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut training = ActorCritic::new(2, 5, hyperparameters(20));
            train(&mut training, 4, 20);
            training
        })
    };
    assert!(run(1) == run(2));
}

fn checkpoint(training: ActorCritic, curve: Vec<CurvePoint>) -> Checkpoint<ActorCritic> {
    let origin = Origin {
        version: "0".into(),
        command: "test".into(),
        scenario: serde_json::json!({"name": "toy"}),
    };
    Checkpoint { training, curve, origin }
}

#[test]
fn saving_again_replaces_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = ActorCritic::new(2, 5, hyperparameters(9));
    for stop in [3, 6] {
        let curve = train(&mut training, 1, stop);
        checkpoint(training.clone(), curve).save(folder.path()).unwrap();
    }
    let mut files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["curve-6.csv", "metadata.json", "weights-6.safetensors"]);
}

#[test]
fn damaged_checkpoints_are_refused() {
    // Damages one file and expects a message that names `blamed`, and says `part`.
    let check_blamed = |file: &str, damage: &dyn Fn(String) -> String, blamed: &str, part: &str| {
        let folder = tempfile::tempdir().unwrap();
        let training = ActorCritic::new(2, 5, hyperparameters(9));
        checkpoint(training, vec![]).save(folder.path()).unwrap();
        let path = folder.path().join(file);
        let text = std::fs::read(&path).unwrap().into_iter().map(char::from).collect();
        let bytes: Vec<u8> = damage(text).chars().map(|c| c as u8).collect();
        std::fs::write(&path, bytes).unwrap();
        let message = Checkpoint::<ActorCritic>::load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(blamed) && message.contains(part), "{message}");
    };
    let check = |file: &str, damage: &dyn Fn(String) -> String, part: &str| {
        check_blamed(file, damage, file, part);
    };
    check("weights-0.safetensors", &|text| text[..text.len() / 2].into(), "");
    check("weights-0.safetensors", &|text| text.replace("critic.0.bias\"", "critic.0.bios\""), "");
    let servers = |text: String| text.replace("\"servers\": 2", "\"servers\": 3");
    check_blamed("metadata.json", &servers, "weights-0.safetensors", "expected F32 [5, 16]");
    let version = |text: String| text.replace("\"feature_version\": 1", "\"feature_version\": 9");
    check("metadata.json", &version, "this version reads 1");
    let outside = |text: String| text.replace("weights-0", "../weights-0");
    check("metadata.json", &outside, "plain file name");
    check("metadata.json", &|_| "{".into(), "EOF");
    check("curve-0.csv", &|_| "a\n1\n".into(), "");
}

#[test]
fn an_agent_for_another_number_of_servers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint(ActorCritic::new(2, 5, hyperparameters(9)), vec![]).save(folder.path()).unwrap();
    let name = AgentName { checkpoint: folder.path().into(), cap: None }.into();
    let server =
        |index| Server::new(format!("s{index}"), StepRate::new(10.0).unwrap(), Seconds::ZERO);
    let recipe = Recipe::load(&name).unwrap();
    let build = |servers: usize| {
        let cluster = Cluster::new((0..servers).map(server).collect()).unwrap();
        recipe.policy(&cluster, Generator::new(1, Purpose::Policy, 0)).map(drop)
    };
    build(2).unwrap();
    let message = build(4).unwrap_err().to_string();
    assert!(message.contains("trained for 2 servers and the cluster has 4"), "{message}");
}
