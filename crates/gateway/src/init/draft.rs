//! A configuration for what was recognised.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use toml_edit::Value as Toml;

use super::workflows::{self, Ready};
use super::{Kind, NamedInput, Recognised, WorkflowFile};
use crate::backends::comfyui::Input;
use crate::calibrate::Measured;
use crate::config::{LONGEST_NAME, may_name_a_model};

/// A configuration that is not written down yet.
#[derive(Clone, Debug)]
pub struct Draft {
    servers: Vec<ServerDraft>,
    /// By name, in the order in which they were met; none where all servers draw with the same.
    models: Vec<(String, Family)>,
    family: Family,
    /// Width and height of pictures whose size nobody asks for.
    side: u32,
}

/// A file beside the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Whether only its owner may read it.
    pub secret: bool,
}

#[derive(Clone, Debug)]
struct ServerDraft {
    name: String,
    from: Recognised,
    models: Vec<HostedDraft>,
    /// For ComfyUI: the first is the server's, the others belong to single models.
    workflows: Vec<(String, Ready)>,
}

#[derive(Clone, Debug)]
struct HostedDraft {
    name: String,
    checkpoint: String,
    /// Position of its workflow.
    workflow: usize,
}

/// After how many steps a model is finished, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ordinary,
    /// Some eight steps: lightning, hyper, LCM, DMD.
    Lightning,
    /// Some four steps: turbo, schnell.
    Turbo,
}

impl Family {
    fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        if any(&["turbo", "schnell"]) {
            Self::Turbo
        } else if any(&["lightning", "hyper", "lcm", "dmd"]) {
            Self::Lightning
        } else {
            Self::Ordinary
        }
    }

    fn most_steps(self) -> u32 {
        match self {
            Self::Ordinary => 50,
            Self::Lightning => 12,
            Self::Turbo => 8,
        }
    }

    fn quality(self) -> &'static str {
        match self {
            Self::Ordinary => "[[10, 1.04], [20, 8.35], [50, 12.30], [100, 13.95]]",
            Self::Lightning => "[[2, 4.0], [4, 9.0], [8, 12.0], [12, 12.5]]",
            Self::Turbo => "[[1, 5.0], [2, 9.0], [4, 12.0], [8, 12.5]]",
        }
    }

    fn remark(self) -> &'static str {
        match self {
            Self::Ordinary => {
                "# Quality against steps: 20 minus the FID of DDIM on CIFAR-10 at 10, 20, 50 and 100 steps, as a shape\n\
                 # to begin with. `atelier calibrate --quality` measures that of your own models."
            }
            Self::Lightning | Self::Turbo => {
                "# Finished after a few steps, by its name. A made-up curve of such a shape: `atelier calibrate --quality`\n\
                 # measures yours."
            }
        }
    }
}

impl Draft {
    /// For these servers, the user's workflows, and places in them that he has named.
    ///
    /// # Errors
    /// A sentence with what does not go together.
    pub fn new(
        found: &[Recognised],
        files: &[WorkflowFile],
        named: &[NamedInput],
    ) -> Result<Self, String> {
        if !files.is_empty() && !found.iter().any(|server| server.kind == Kind::ComfyUi) {
            let file = &files[0].file;
            return Err(format!(
                "{file}: none of the addresses is a ComfyUI, which workflows are for"
            ));
        }
        let mut servers = Vec::new();
        for from in found {
            let name = free_name(from.kind.key(), &servers);
            servers.push(ServerDraft::new(name, from.clone(), files, named)?);
        }
        let mut models: Vec<(String, Family)> = Vec::new();
        for hosted in servers.iter().flat_map(|server| &server.models) {
            if !models.iter().any(|(name, _)| *name == hosted.name) {
                models.push((hosted.name.clone(), Family::of(&hosted.name)));
            }
        }
        let large = ["xl", "flux", "sd3", "qwen", "z-image"];
        let is_large = |name: &str| large.iter().any(|part| name.to_lowercase().contains(part));
        let first = models.first().map_or("", |(name, _)| name);
        let side = if is_large(first) { 1024 } else { 512 };
        let family = Family::of(first);
        if models.len() < 2 {
            models.clear();
        }
        for server in servers.iter_mut().filter(|server| server.models.is_empty()) {
            if !models.is_empty() {
                // It does not say what it draws with: it goes by its own name.
                let name = server.name.clone();
                models.push((name.clone(), Family::Ordinary));
                server.models.push(HostedDraft { checkpoint: name.clone(), name, workflow: 0 });
            }
        }
        Ok(Self { servers, models, family, side })
    }

    /// The files that the configuration names.
    pub fn files(&self) -> Vec<DraftFile> {
        let mut files = Vec::new();
        for server in &self.servers {
            for (name, ready) in &server.workflows {
                let text = serde_json::to_string_pretty(&ready.graph).expect("it was JSON") + "\n";
                files.push(DraftFile { name: name.clone(), text, secret: false });
            }
            if let Some(secret) = &server.from.secret {
                let text = format!("{secret}\n");
                files.push(DraftFile { name: server.secret_file(), text, secret: true });
            }
        }
        files
    }

    /// Where the workflow of each file takes its inputs: name, place, and what stands there.
    pub fn inputs(&self) -> Vec<(String, Vec<[String; 3]>)> {
        let of = |(name, ready): &(String, Ready)| {
            let rows = ready
                .nodes
                .iter()
                .map(|(input, place, what)| [input.key().to_string(), place.clone(), what.clone()]);
            (name.clone(), rows.collect())
        };
        self.servers.iter().flat_map(|server| &server.workflows).map(of).collect()
    }

    /// The configuration, with the files that it names in a folder, and the speeds that were measured or why
    /// they were not.
    pub fn text(
        &self,
        folder: &Path,
        measured: &BTreeMap<String, Result<Measured, String>>,
    ) -> String {
        let mut text = String::from(
            "# Written by `atelier init`; everything may be changed. docs/gateway.md has all settings.\n\
             policy = \"agent[universal]\"\njournal = \"atelier.db\"\n\n",
        );
        let family = if self.models.is_empty() { self.family } else { Family::Ordinary };
        let (remark, quality) = (family.remark(), family.quality());
        let _ = write!(
            text,
            "{remark}\n[objective]\ntardiness_weight = 1.0\nquality = {{ table = {quality} }}\n# Points per second of \
             waiting, so that nobody is kept waiting for a gain that he does not see.\nwaiting_weight = 0.02\n\n\
             [defaults]\nwidth = {side}\nheight = {side}\ndue_in_seconds = 30.0\npenalty = \"linear\"\n",
            side = self.side
        );
        if let Some((first, _)) = self.models.first() {
            let name = quoted(first);
            let _ = write!(
                text,
                "model = {name}\n# Many clients send a name of their own.\ncatch_all_model = {name}\n"
            );
        }
        for (name, family) in &self.models {
            let (name, most) = (quoted(name), family.most_steps());
            let _ = write!(text, "\n[[model]]\nname = {name}\nmax_steps = {most}\n");
            if *family != Family::Ordinary {
                let (remark, quality) = (family.remark(), family.quality());
                let _ = write!(text, "{remark}\nquality = {{ table = {quality} }}\n");
            }
        }
        for server in &self.servers {
            let most = self.models.is_empty().then(|| family.most_steps());
            server.write(&mut text, folder, most, measured.get(&server.name));
        }
        text
    }
}

impl ServerDraft {
    fn new(
        name: String,
        from: Recognised,
        files: &[WorkflowFile],
        named: &[NamedInput],
    ) -> Result<Self, String> {
        let mut server = Self { name, models: Vec::new(), workflows: Vec::new(), from };
        if server.from.kind != Kind::ComfyUi {
            // The others draw with what they were started with, but for web UIs.
            let one = server.from.kind != Kind::Automatic1111;
            let most = if one { 1 } else { usize::MAX };
            for checkpoint in server.from.models.clone().into_iter().take(most) {
                server.host(checkpoint, 0, None);
            }
            return Ok(server);
        }
        if files.is_empty() {
            server.draw_built_in()?;
        } else {
            server.draw_with(files, named)?;
        }
        Ok(server)
    }

    fn host(&mut self, checkpoint: String, workflow: usize, name: Option<String>) {
        let name = name.unwrap_or_else(|| model_name(&checkpoint));
        if !self.models.iter().any(|hosted| hosted.name == name) {
            self.models.push(HostedDraft { name, checkpoint, workflow });
        }
    }

    fn draw_built_in(&mut self) -> Result<(), String> {
        let url = &self.from.url;
        if self.from.models.is_empty() {
            return Err(format!(
                "{url}: this ComfyUI has no checkpoint that the built-in workflow could draw with: put one into its \
                 models/checkpoints, or give a workflow of your own with --workflow FILE"
            ));
        }
        let few_steps = |name: &String| Family::of(name) != Family::Ordinary;
        for (few, suffix) in [(false, ""), (true, "-few-steps")] {
            let of_kind =
                self.from.models.clone().into_iter().filter(|name| few_steps(name) == few);
            let of_kind: Vec<_> = of_kind.collect();
            let Some(first) = of_kind.first() else { continue };
            let mut ready = workflows::built_in(few);
            ready.graph["4"]["inputs"]["ckpt_name"] = first.as_str().into();
            self.workflows.push((format!("{}{suffix}.workflow.json", self.name), ready));
            let position = self.workflows.len() - 1;
            for checkpoint in of_kind {
                self.host(checkpoint, position, None);
            }
        }
        Ok(())
    }

    fn draw_with(&mut self, files: &[WorkflowFile], named: &[NamedInput]) -> Result<(), String> {
        for (position, file) in files.iter().enumerate() {
            let mut ready = workflows::read(file, &self.from, named)?;
            // It draws with what it has.
            ready.found.places.remove(&Input::Checkpoint);
            let checkpoint = ready.checkpoint.clone().unwrap_or_default();
            let model = ready.model.clone().unwrap_or_else(|| model_name(&checkpoint));
            if files.len() > 1 && model.is_empty() {
                let file = &file.file;
                return Err(format!(
                    "{file}: no loader in it names a checkpoint: write --workflow MODEL={file}"
                ));
            }
            if self.models.iter().any(|hosted| hosted.name == model) {
                let file = &file.file;
                return Err(format!(
                    "{file}: it draws with {model:?} as an earlier workflow does: allowed is one for each model; \
                     write --workflow ANOTHER-NAME={file}"
                ));
            }
            if !model.is_empty() {
                self.host(checkpoint, position, Some(model.clone()));
            }
            let suffix =
                if position == 0 { String::new() } else { format!("-{}", file_name(&model)) };
            self.workflows.push((format!("{}{suffix}.workflow.json", self.name), ready));
        }
        Ok(())
    }

    fn secret_file(&self) -> String {
        format!("{}.secret", self.name)
    }

    fn write(
        &self,
        text: &mut String,
        folder: &Path,
        most_steps: Option<u32>,
        measured: Option<&Result<Measured, String>>,
    ) {
        let Recognised { url, kind, .. } = &self.from;
        let (rate, overhead, remark) = match measured {
            Some(Ok(measured)) => {
                let speed = measured.speed;
                (
                    speed.rate.steps_per_second(),
                    speed.overhead.seconds(),
                    "Measured; learned further while serving.",
                )
            }
            Some(Err(problem)) => (5.0, 1.0, problem.lines().next().unwrap_or_default()),
            None => (
                5.0,
                1.0,
                "A guess: `atelier calibrate` measures it, and it is learned while serving.",
            ),
        };
        let round = |number: f64| Toml::from((number * 1e4).round() / 1e4);
        let _ = write!(
            text,
            "\n[[server]]\nname = {}\n# {remark}\nsteps_per_second = {}\noverhead_seconds = {}\n",
            quoted(&self.name),
            round(rate.max(1e-3)),
            round(overhead)
        );
        // Listed models have bounds of their own.
        let listed = most_steps.is_none();
        if let Some(most) = most_steps {
            let _ = writeln!(text, "max_steps = {most}");
        }
        let file = |name: &str| quoted(&folder.join(name).display().to_string());
        let _ = write!(
            text,
            "\n[server.backend]\nkind = {}\nurl = {}\n",
            quoted(kind.key()),
            quoted(url)
        );
        match (kind, &self.from.secret) {
            (Kind::Automatic1111, Some(_)) => {
                let _ = writeln!(text, "login_file = {}", file(&self.secret_file()));
            }
            (Kind::OpenAi, Some(_)) => {
                let _ = writeln!(text, "key_file = {}", file(&self.secret_file()));
            }
            _ => {}
        }
        if *kind == Kind::OpenAi
            && !listed
            && let Some(hosted) = self.models.first()
        {
            let _ = writeln!(text, "model = {}", quoted(&hosted.checkpoint));
        }
        if let Some((name, ready)) = self.workflows.first() {
            let _ = write!(
                text,
                "workflow = {}\n\n[server.backend.inputs]\n{}",
                file(name),
                inputs(ready, "\n")
            );
            text.push('\n');
        }
        if listed {
            let _ = write!(text, "\n[server.models]\n");
            for hosted in &self.models {
                let mut more =
                    format!("checkpoint = {}, load_seconds = 10.0", quoted(&hosted.checkpoint));
                if let Some((name, ready)) =
                    self.workflows.get(hosted.workflow).filter(|_| hosted.workflow > 0)
                {
                    let _ = write!(
                        more,
                        ", workflow = {}, inputs = {{ {} }}",
                        file(name),
                        inputs(ready, ", ")
                    );
                }
                let _ = writeln!(text, "{} = {{ {more} }}", quoted(&hosted.name));
            }
        }
    }
}

/// The inputs of a workflow as the configuration has them.
fn inputs(ready: &Ready, between: &str) -> String {
    let places = ready.found.places.iter().map(|(input, places)| {
        let quoted: Vec<_> = places.iter().map(|place| quoted(place)).collect();
        let value =
            if let [one] = &quoted[..] { one.clone() } else { format!("[{}]", quoted.join(", ")) };
        format!("{} = {value}", input.key())
    });
    let output = ready.found.output.iter().map(|node| format!("output = {}", quoted(node)));
    places.chain(output).collect::<Vec<_>>().join(between)
}

fn quoted(text: &str) -> String {
    Toml::from(text).to_string()
}

/// What requests call a checkpoint: its name with what is not allowed in one replaced, and without the ending of
/// its file.
fn model_name(checkpoint: &str) -> String {
    let endings = [".safetensors", ".ckpt", ".gguf", ".sft", ".pt", ".pth"];
    let stem =
        endings.iter().find_map(|ending| checkpoint.strip_suffix(ending)).unwrap_or(checkpoint);
    let plain = |c: char| if may_name_a_model(c) { c } else { '-' };
    stem.chars().map(plain).take(LONGEST_NAME).collect()
}

/// The name of a model as part of that of a file.
fn file_name(name: &str) -> String {
    let plain = |c: char| if may_name_a_model(c) && !"/:+".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

fn free_name(name: &str, servers: &[ServerDraft]) -> String {
    let taken = |name: &str| servers.iter().any(|server| server.name == name);
    if !taken(name) {
        return name.into();
    }
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    numbered.into_iter().find(|name| !taken(name)).expect("there is no end of numbers")
}
