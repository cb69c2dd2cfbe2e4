//! The universal agent: the same for any order of the servers, safe, capped, and reproducible.

use std::ops::ControlFlow;
use std::sync::Arc;

use agent::universal::{Clusters, PriceNetwork, PriceNetworks, RoundPoint, Stage};
use agent::{
    Checkpoint, Origin, PriceHyperparameters, PriceTraining, Recipe, Train, Training,
    UniversalAgent,
};
use proptest::prelude::*;
use scheduling::policies::Myopic;
use scheduling::{
    AgentName, Cap, Cluster, Decision, Generator, HostedModel, Hosting, Instance, Loaded, Model,
    Objective, Observation, Offer, Policy, PolicyName, Purpose, Queues, Request, Seconds, Server,
    Spread, StepBounds, StepRate, Steps, TardinessPenalty, Time, Traffic,
};

/// Six requests per service on two servers: enough to queue.
fn instance(number: u64) -> Instance {
    let mut draw = Generator::new(4, Purpose::Search, number);
    let cluster = cluster(&[18.0, 7.0]);
    let mut now = Time::ZERO;
    let requests = (0..60)
        .map(|_| {
            now += Seconds::of(draw.exponential(2.0));
            request(now, draw.between(2.0, 20.0), TardinessPenalty::ALL[draw.below(3)])
        })
        .collect();
    Instance::new(cluster, requests, Objective::default()).unwrap()
}

fn request(arrival: Time, slack: f64, penalty: TardinessPenalty) -> Request {
    Request::new(arrival, arrival + Seconds::of(slack), penalty)
}

fn cluster(rates: &[f64]) -> Cluster {
    let servers = rates.iter().enumerate().map(|(index, &rate)| {
        Server::new(format!("s{index}"), StepRate::new(rate).unwrap(), Seconds::ZERO)
    });
    Cluster::new(servers.collect()).unwrap()
}

/// A network whose weights are all drawn: prices of every size.
fn network(seed: u64) -> Arc<PriceNetwork> {
    let mut draw = Generator::new(seed, Purpose::Initialisation, 0);
    let count = PriceNetwork::parameter_count(Clusters::Plain, &[8]);
    let parameters = (0..count).map(|_| draw.normal() as f32).collect();
    Arc::new(PriceNetwork::from_parameters(Clusters::Plain, &[8], parameters).unwrap())
}

/// A network with every price the same: `bias` before the softplus, whatever a job takes.
fn constant(bias: f32) -> Arc<PriceNetwork> {
    let mut parameters = vec![0.0; PriceNetwork::parameter_count(Clusters::Plain, &[8])];
    let biases = parameters.len() - 2;
    parameters[biases..].copy_from_slice(&[bias, -60.0]);
    Arc::new(PriceNetwork::from_parameters(Clusters::Plain, &[8], parameters).unwrap())
}

/// The decision for servers given as `(steps per second, backlog)`.
fn decide(
    policy: &mut dyn Policy,
    servers: &[(f64, f64)],
    slack: f64,
    penalty: TardinessPenalty,
) -> Decision {
    let offer = |&(rate, backlog): &(f64, f64)| Offer {
        load: Seconds::ZERO,
        backlog: Seconds::of(backlog),
        overhead: Seconds::ZERO,
        step_rate: StepRate::new(rate).unwrap(),
        bounds: StepBounds::ALL,
        spread: Spread::default(),
        backlog_variance: 0.0,
    };
    let offers: Vec<_> = servers.iter().map(offer).collect();
    let now = Time::new(50.0).unwrap();
    let request = request(now, slack, penalty);
    let mut traffic = Traffic::default();
    traffic.arrive(&request);
    policy.decide(&Observation {
        now,
        request: &request,
        offers: &offers,
        objective: &Objective::default(),
        residencies: &[],
        traffic: &traffic,
    })
}

proptest! {
    /// Equivariance. Backlogs are powers of two and rates whole, so that sums in another order
    /// round alike, and all servers differ, so that there are no ties.
    #[test]
    fn the_order_of_the_servers_does_not_matter(
        seed in any::<u64>(), count in 1usize..12, rotation in 0usize..12, slack in 1.0..30.0,
    ) {
        let servers: Vec<_> =
            (0..count).map(|j| (7.0 + j as f64, 0.25 * f64::from(1 << (j % 7)))).collect();
        let mut rotated = servers.clone();
        rotated.rotate_left(rotation % count);
        for penalty in TardinessPenalty::ALL {
            let decision = |servers: &[(f64, f64)]| {
                decide(&mut UniversalAgent::new(network(seed), None), servers, slack, penalty)
            };
            let (straight, turned) = (decision(&servers), decision(&rotated));
            prop_assert_eq!(servers[straight.server], rotated[turned.server], "seed {}", seed);
            prop_assert_eq!(straight.steps, turned.steps);
        }
    }
}

#[test]
fn free_server_time_leaves_the_myopic_decision() {
    for (slack, penalty) in [(3.0, TardinessPenalty::SquareRoot), (9.0, TardinessPenalty::Linear)] {
        let servers = [(15.0, 2.0), (7.0, 0.0), (18.0, 6.0)];
        let mut free = UniversalAgent::new(constant(-60.0), None);
        let expected = decide(&mut Myopic, &servers, slack, penalty);
        assert_eq!(decide(&mut free, &servers, slack, penalty), expected);
        assert_eq!(free.replaced(), 0);
    }
}

#[test]
fn prices_that_are_no_numbers_count_for_nothing() {
    let servers = [(18.0, 3.0), (7.0, 0.0)];
    for bias in [f32::NAN, f32::INFINITY] {
        let mut agent = UniversalAgent::new(constant(bias), None);
        let expected = decide(&mut Myopic, &servers, 9.0, TardinessPenalty::Linear);
        assert_eq!(decide(&mut agent, &servers, 9.0, TardinessPenalty::Linear), expected, "{bias}");
        assert_eq!(agent.replaced(), 1, "{bias}");
    }
}

#[test]
fn a_cap_is_kept_where_it_can_be() {
    let servers = [(15.0, 20.0), (15.0, 12.0)];
    let finish = |cap: Option<f64>, servers: &[(f64, f64)]| {
        let mut agent = UniversalAgent::new(constant(-60.0), cap.map(Seconds::of));
        let decision = decide(&mut agent, servers, 2.0, TardinessPenalty::SquareRoot);
        (decision.server, servers[decision.server].1 + f64::from(decision.steps.get()) / 15.0)
    };
    assert!(finish(Some(60.0), &servers).1 > 18.0);
    // Its own cap: what a full service gains, over w, after the due time.
    let own = finish(None, &[(15.0, 20.0), (15.0, 18.0)]).1;
    let objective = Objective::default();
    let cap = objective.full_service().gain / objective.tardiness_weight();
    assert!((20.0..=2.0 + cap).contains(&own), "{own}");
    assert!(finish(None, &[(15.0, 60.0)]).1 > 62.0, "where nobody keeps it, prices decide");
    let (server, finish_capped) = finish(Some(12.0), &servers);
    assert!(server == 1 && finish_capped <= 14.0, "{finish_capped}");
    // Nobody can be within 3 s: a single step on the server that is free first comes nearest.
    let (server, finish) = finish(Some(3.0), &servers);
    assert_eq!((server, finish), (1, 12.0 + 1.0 / 15.0));
}

fn hyperparameters(rounds: u64) -> PriceHyperparameters {
    PriceHyperparameters {
        rounds,
        instances: 4,
        alternatives: 64,
        batch: 64,
        hidden: vec![4],
        learning_rate: 0.01,
        ..Default::default()
    }
}

/// Trains on until `stop` rounds are done.
fn train(training: &mut PriceTraining, stop: u64) -> Vec<RoundPoint> {
    let mut curve = Vec::new();
    training.train(&mut |_, number| instance(number), |training, point| {
        curve.push(*point);
        if training.plain.rounds >= stop {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    curve
}

fn checkpoint(training: PriceTraining, curve: Vec<RoundPoint>) -> Checkpoint<PriceTraining> {
    let scenario = serde_json::json!({"name": "toy"});
    let origin = Origin { version: "0".into(), command: "test".into(), scenario };
    Checkpoint { training, curve, origin }
}

fn mean_reward(network: &PriceNetwork) -> f64 {
    let rewards = (1000..1010).flat_map(|number| {
        let instance = instance(number);
        let mut policy = UniversalAgent::new(Arc::new(network.clone()), None);
        let mut queues = Queues::new(instance.cluster());
        (instance.requests().iter())
            .map(|request| {
                let objective = instance.objective();
                queues.arrive(request);
                let observation = queues.observe(request.arrival, request, objective);
                let decision = policy.decide(&observation);
                let reward = observation.reward(decision);
                queues.dispatch(request.arrival, decision);
                reward
            })
            .collect::<Vec<_>>()
    });
    rewards.sum::<f64>() / 600.0
}

#[test]
fn alternatives_teach_what_server_time_is_worth() {
    let mut training = PriceTraining::new(1, hyperparameters(40));
    // Starting from free server time: myopic.
    let mut parameters = training.plain.network.perceptron().parameters().to_vec();
    let biases = parameters.len() - 2;
    parameters[biases..].copy_from_slice(&[-6.0, -6.0]);
    let network = PriceNetwork::from_parameters(Clusters::Plain, &[4], parameters).unwrap();
    (training.plain.network, training.plain.learner) = (network.clone(), network);
    let before = mean_reward(&training.plain.network);
    let curve = train(&mut training, 40);
    let after = mean_reward(&training.plain.network);
    assert!(after > before + 0.5, "{before} before and {after} after");
    assert!(curve[39].error < curve[0].error, "{curve:?}");
}

#[test]
fn interrupted_and_resumed_is_the_same_as_uninterrupted() {
    let mut whole = PriceTraining::new(5, hyperparameters(8));
    let curve = train(&mut whole, 8);
    let mut parts = PriceTraining::new(5, hyperparameters(8));
    let mut curve_of_parts = train(&mut parts, 3);

    let folder = tempfile::tempdir().unwrap();
    let saved = checkpoint(parts, curve_of_parts);
    saved.save(folder.path()).unwrap();
    let loaded = Checkpoint::<PriceTraining>::load(folder.path()).unwrap();
    assert_eq!(loaded, saved);

    let mut parts = loaded.training;
    curve_of_parts = loaded.curve;
    curve_of_parts.extend(train(&mut parts, 8));
    assert!(parts == whole);
    assert_eq!(curve_of_parts, curve);
}

/// Two servers, each with room for one of two models.
fn fleet(number: u64) -> Instance {
    let plain = instance(number);
    let host = |server: &Server| {
        let hosted = |model| HostedModel::on(server, model, Seconds::of(6.0));
        let models = [Model(0), Model(1)].map(hosted).into();
        let hosting = Some(Hosting { resident: 1, models, loaded: Loaded::default() });
        Server { hosting, ..server.clone() }
    };
    let servers = plain.cluster().iter().map(host).collect();
    let names = ["first", "second"].map(str::to_owned).into();
    let asked = plain.requests().iter().enumerate();
    let asked = asked.map(|(i, r)| Request { model: Model(u16::from(i % 3 == 0)), ..*r });
    let cluster = Cluster::with_models(servers, names).unwrap();
    Instance::new(cluster, asked.collect(), Objective::default()).unwrap()
}

#[test]
fn prices_decide_where_no_server_of_a_fleet_can_keep_the_cap() {
    let zero = |clusters, outputs: usize| {
        let mut parameters = vec![0.0; PriceNetwork::parameter_count(clusters, &[8])];
        // Server time costs nothing; nor does what is loaded, as the third output is zero.
        let biases = parameters.len() - outputs;
        parameters[biases..biases + 2].fill(-60.0);
        Arc::new(PriceNetwork::from_parameters(clusters, &[8], parameters).unwrap())
    };
    let networks =
        PriceNetworks { plain: zero(Clusters::Plain, 2), fleets: Some(zero(Clusters::Fleets, 3)) };
    let fleet = fleet(0);
    let decide = |policy: &mut dyn Policy, free_at: f64| {
        let mut queues = Queues::new(fleet.cluster());
        (0..2).for_each(|server| queues.set_free_at(server, Time::new(free_at).unwrap()));
        let request = request(Time::ZERO, 2.0, TardinessPenalty::SquareRoot);
        queues.arrive(&request);
        policy.decide(&queues.observe(Time::ZERO, &request, fleet.objective()))
    };
    let free = |cap: Option<f64>| UniversalAgent::new(networks.clone(), cap.map(Seconds::of));
    // All that steps gain is lost by 21 s of linear tardiness, which is its own cap: at 16 s it leaves time
    // for fewer steps than the square root would pay for, at 60 s it cannot be kept.
    for (free_at, of_its_own) in [(0.0, true), (16.0, false), (60.0, true)] {
        let myopic = decide(&mut Myopic, free_at);
        assert_eq!(decide(&mut free(None), free_at) == myopic, of_its_own, "{free_at} s");
        // A cap that somebody has asked for is come as near to as can be.
        let hurried = decide(&mut free(Some(1.0)), free_at);
        assert_eq!(hurried.steps, Steps::MIN, "{free_at} s");
    }
}

#[test]
fn training_goes_on_in_fleets_and_changes_nothing_elsewhere() {
    let plain = PriceHyperparameters { alternatives: 16, ..hyperparameters(2) };
    let fleets = Some(Stage { rounds: 3, followed_requests: 6, further_units: 2 });
    let train = |training: &mut PriceTraining, stop: u64| {
        let mut curve = Vec::new();
        let mut world = |clusters, number| match clusters {
            Clusters::Plain => instance(number),
            Clusters::Fleets => fleet(number),
        };
        training.train(&mut world, |training, point| {
            curve.push(*point);
            if training.done() >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        curve
    };
    let mut only_plain = PriceTraining::new(5, plain.clone());
    train(&mut only_plain, 9);
    let mut whole = PriceTraining::new(5, PriceHyperparameters { fleets, ..plain });
    let curve = train(&mut whole, 9);
    assert_eq!((whole.done(), curve.len()), (5, 5));
    assert!(whole.plain == only_plain.plain);
    // Once it is in a checkpoint in the middle of the fleets, it goes on to the same end.
    let mut parts = PriceTraining::new(5, whole.hyperparameters.clone());
    let mut curve_of_parts = train(&mut parts, 3);
    let folder = tempfile::tempdir().unwrap();
    checkpoint(parts, curve_of_parts).save(folder.path()).unwrap();
    let loaded = Checkpoint::<PriceTraining>::load(folder.path()).unwrap();
    let mut parts = loaded.training;
    curve_of_parts = loaded.curve;
    curve_of_parts.extend(train(&mut parts, 9));
    assert!(parts == whole);
    assert_eq!(curve_of_parts, curve);
    // Both networks decide, each where it belongs.
    let decisions = |training: &PriceTraining, instance: &Instance| -> Vec<Decision> {
        let mut agent = UniversalAgent::new(training.networks(), None);
        let mut queues = Queues::new(instance.cluster());
        let decide = |request: &Request| {
            let objective = instance.objective();
            queues.arrive(request);
            let decision = agent.decide(&queues.observe(request.arrival, request, objective));
            queues.dispatch(request.arrival, decision);
            decision
        };
        instance.requests().iter().map(decide).collect()
    };
    assert_eq!(decisions(&whole, &instance(7)), decisions(&only_plain, &instance(7)));
    assert_ne!(decisions(&whole, &fleet(7)), decisions(&only_plain, &fleet(7)));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut training = PriceTraining::new(5, hyperparameters(4));
            train(&mut training, 4);
            training
        })
    };
    assert!(run(1) == run(2));
}

#[test]
fn a_checkpoint_says_which_agent_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint(PriceTraining::new(5, hyperparameters(4)), vec![]).save(folder.path()).unwrap();
    let name = |cap: Option<f64>| {
        let cap = cap.map(|cap| Cap(Seconds::of(cap)));
        PolicyName::Agent(AgentName { checkpoint: folder.path().into(), cap })
    };
    for cap in [None, Some(30.0)] {
        let recipe = Recipe::load(&name(cap)).unwrap();
        for servers in [1, 3, 200] {
            let cluster = cluster(&vec![10.0; servers]);
            recipe.policy(&cluster, Generator::new(1, Purpose::Policy, 0)).map(drop).unwrap();
        }
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    let check = |file: &str, from: &str, to: &str, part: &str| {
        let folder = tempfile::tempdir().unwrap();
        checkpoint(PriceTraining::new(5, hyperparameters(4)), vec![]).save(folder.path()).unwrap();
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        let text: String = bytes.into_iter().map(char::from).collect();
        assert!(text.contains(from), "{text}");
        let bytes: Vec<u8> = text.replace(from, to).chars().map(|c| c as u8).collect();
        std::fs::write(&path, bytes).unwrap();
        let message = Checkpoint::<PriceTraining>::load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    check("metadata.json", "\"universal\"", "\"paper\"", "allowed here is \"universal\"");
    check("metadata.json", "\"feature_version\": 6", "\"feature_version\": 9", "reads 6");
    check("metadata.json", "\"alternatives\": 64", "\"phantoms\": 64", "unknown field `phantoms`");
    check("metadata.json", "weights-0", "../weights-0", "plain file name");
    for (name, value) in [("batch", 64), ("alternatives", 64), ("servers_per_followed_request", 4)]
    {
        let [from, to] = [value, 0].map(|value| format!("\"{name}\": {value}"));
        check("metadata.json", &from, &to, &format!("{name} is 0: allowed is 1 to 1000000"));
    }
    check(
        "metadata.json",
        "\"learning_rate\": 0.01",
        "\"learning_rate\": -1.0",
        "allowed is 0 to 1",
    );
    check("metadata.json", "      4\n", "      5\n", "expected F32");
    check("metadata.json", "      4\n", "      0\n", "1 to 4096 units");
    check("weights-0.safetensors", "prices\"", "prises\"", "prices");
}

#[test]
fn an_older_checkpoint_is_refused_for_its_format_and_not_for_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint(PriceTraining::new(5, hyperparameters(4)), vec![]).save(folder.path()).unwrap();
    let path = folder.path().join("metadata.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let older = text.replace("\"format\": 4", "\"format\": 3").replace("alternatives", "phantoms");
    assert_ne!(older, text);
    std::fs::write(&path, older).unwrap();
    let message = Checkpoint::<PriceTraining>::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("format is 3: this version reads 4"), "{message}");
}
