//! Policies in Python files: a process runs them, and is asked over its input and output.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use scheduling::message::{bounded, excerpt};
use scheduling::policies::Myopic;
use scheduling::{Cluster, Decision, Generator, Objective, Observation, Policy};
use serde::Deserialize;
use serde_json::json;

/// The program that runs policies, and what they see of an observation.
const BRIDGE: &str = include_str!("file/bridge.py");

/// How long a policy may think, unless told, and how long its file may take to begin.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A file with a policy, and the processes that run it: as many as there are policies at once.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    file: PathBuf,
    idle: Mutex<Vec<Process>>,
}

impl PolicyFile {
    /// Reads the file, and runs what stands outside its functions.
    ///
    /// # Errors
    /// If there is no Python, no such file, or no policy in it.
    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let file = std::path::absolute(file).map_err(|error| error.to_string())?;
        std::fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let process = Process::start(&file)?;
        Ok(Self { file, idle: Mutex::new(vec![process]) })
    }

    /// A new policy, which may think for so long.
    ///
    /// # Errors
    /// What the file has to say.
    pub(crate) fn policy(
        self: &Arc<Self>,
        cluster: &Cluster,
        mut generator: Generator,
        patience: Duration,
    ) -> Result<FilePolicy, String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut process = idle.map_or_else(|| Process::start(&self.file), Ok)?;
        // JSON's numbers are exact up to 2^53.
        let seed = generator.below(1 << 53);
        process.tell(&json!(["new", seed]))?;
        process.ready(PATIENCE)?;
        Ok(FilePolicy {
            of: self.clone(),
            patience,
            process: Some(process),
            models: cluster.models().to_vec(),
            objective: None,
            failure: None,
        })
    }
}

/// A policy that a process runs. Once that fails it decides no more: see [`Policy::failure`].
#[derive(Debug)]
pub(crate) struct FilePolicy {
    of: Arc<PolicyFile>,
    patience: Duration,
    process: Option<Process>,
    models: Vec<String>,
    /// What it was told that decisions are judged by.
    objective: Option<Objective>,
    failure: Option<String>,
}

impl Policy for FilePolicy {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        match self.ask(observation) {
            Ok(decision) => decision,
            Err(problem) => {
                self.process = None;
                self.failure.get_or_insert(bounded(&problem));
                Myopic.decide(observation)
            }
        }
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl FilePolicy {
    fn ask(&mut self, observation: &Observation<'_>) -> Result<Decision, String> {
        let process = self.process.as_mut().ok_or("it has failed before")?;
        if self.objective.as_ref() != Some(observation.objective) {
            let objective = observation.objective.clone();
            process.tell(&json!(["objective", {
                "qualities": &objective.qualities()[..],
                "tardiness_weight": objective.tardiness_weight(),
            }]))?;
            self.objective = Some(objective);
        }
        process.tell(&json!(["decide", seen(observation, &self.models)]))?;
        loop {
            match process.answer(self.patience)? {
                Answer::Decision(offer, steps) => return observation.decision(offer, steps),
                Answer::Reward(offer, steps) => {
                    let decision = observation.decision(offer, steps)?;
                    process.tell(&json!(observation.reward(decision)))?;
                }
                Answer::Error(problem) => return Err(problem),
                Answer::Ready => return Err("it answers what it was not asked".into()),
            }
        }
    }
}

impl Drop for FilePolicy {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            self.of.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        }
    }
}

/// What `Observation` of the bridge is made from.
fn seen(observation: &Observation<'_>, models: &[String]) -> serde_json::Value {
    let request = observation.request;
    let offers = observation.offers.iter().map(|offer| {
        json!([
            offer.backlog.seconds(),
            offer.load.seconds(),
            offer.overhead.seconds(),
            offer.step_rate.steps_per_second(),
            offer.bounds.min.get(),
            offer.bounds.max.get(),
            f64::from(offer.spread.sigma()),
        ])
    });
    json!([
        observation.now.seconds(),
        [
            json!(request.arrival.seconds()),
            json!(request.due.seconds()),
            json!(request.penalty),
            json!(models.get(request.model.index())),
            json!(request.size.get()),
        ],
        offers.collect::<Vec<_>>(),
        observation.traffic.mean_interval().map(scheduling::Seconds::seconds),
    ])
}

/// What a process says.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ready,
    Decision(i64, i64),
    /// It asks what a decision would earn.
    Reward(i64, i64),
    Error(String),
}

/// A Python that runs the bridge.
#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    /// Its lines, as a thread reads them: a policy that never answers must not be waited for for ever.
    lines: Receiver<String>,
}

impl Process {
    fn start(file: &Path) -> Result<Self, String> {
        let mut child = Command::new("python3")
            .args(["-c", BRIDGE])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3 cannot be started: {error}"))?;
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (read, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if read.send(line).is_err() {
                    return;
                }
            }
        });
        let mut process = Self { child, input, lines };
        process.ready(PATIENCE)?;
        Ok(process)
    }

    /// Waits until it says that it is ready.
    fn ready(&mut self, patience: Duration) -> Result<(), String> {
        match self.answer(patience)? {
            Answer::Ready => Ok(()),
            Answer::Error(problem) => Err(problem),
            Answer::Decision(..) | Answer::Reward(..) => {
                Err("it answers what it was not asked".into())
            }
        }
    }

    fn tell(&mut self, line: &serde_json::Value) -> Result<(), String> {
        let written = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        written.map_err(|error| format!("its process has gone: {error}"))
    }

    fn answer(&mut self, patience: Duration) -> Result<Answer, String> {
        let line = self.lines.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                format!("no answer came within {} s", patience.as_secs_f64())
            }
            RecvTimeoutError::Disconnected => "its process has ended".to_owned(),
        })?;
        serde_json::from_str(&line).map_err(|_| format!("it answers \"{}\"", excerpt(&line)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
