use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use gateway::Config;
use gateway::calibrate::{Measured, calibrate_one};
use gateway::init::{Draft, DraftFile, LOCAL, NamedInput, Recognised, WorkflowFile, recognise};
use tokio::runtime::Runtime;
use writing::Readers;

use crate::failure::Failure;
use crate::output::say;

/// Write a configuration for the diffusion servers at these addresses.
///
/// Each is asked what it is (ComfyUI, AUTOMATIC1111, sd-server, OpenAI's protocol) and what it draws with, and paints
/// eight pictures to be measured. Nothing that is there is overwritten.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Addresses such as http://10.0.0.7:8188; USER:PASSWORD@ or :KEY@ before the host for those that want a login.
    /// Without any, the ports of this machine that such programs use.
    addresses: Vec<String>,
    /// File to write (TOML); those that it names go beside it.
    #[arg(long, default_value = "atelier.toml")]
    config: PathBuf,
    /// A workflow for ComfyUI in place of the built-in one, in either export format; may be given several times.
    #[arg(long = "workflow", value_name = "[MODEL=]FILE")]
    workflows: Vec<String>,
    /// Where the workflow takes an input, in place of what is found; may be given several times.
    #[arg(long = "input", value_name = "NAME=NODE.INPUT")]
    inputs: Vec<NamedInput>,
    /// Take what is found in workflows without asking.
    #[arg(long)]
    yes: bool,
    /// Do not paint anything: speeds are guessed.
    #[arg(long)]
    no_measure: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = &arguments.config;
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    free(file)?;
    let workflows =
        arguments.workflows.iter().map(|text| read(text)).collect::<Result<Vec<_>, _>>()?;
    let runtime = Runtime::new().context("cannot start the threads")?;
    let found = runtime.block_on(find(&arguments.addresses))?;
    let draft = Draft::new(&found, &workflows, &arguments.inputs)
        .map_err(|problem| Failure::Refused(anyhow::Error::msg(problem)))?;
    let beside = draft.files();
    beside.iter().try_for_each(|beside| free(&folder.join(&beside.name)))?;
    show(&draft);
    if !workflows.is_empty() && !arguments.yes {
        confirm()?;
    }
    let measured = if arguments.no_measure { BTreeMap::new() } else { measure(&runtime, &draft)? };
    let text = draft.text(&folder, &measured);
    let main = DraftFile { name: name_of(file), text, secret: false };
    let written: Vec<_> = beside.iter().chain([&main]).collect();
    for (count, each) in written.iter().enumerate() {
        if let Err(error) = write(&folder.join(&each.name), each) {
            // All of them or none.
            written[..count].iter().for_each(|each| drop(fs::remove_file(folder.join(&each.name))));
            return Err(error);
        }
    }
    let names: Vec<_> = beside.iter().map(|beside| beside.name.as_str()).collect();
    let more =
        if names.is_empty() { String::new() } else { format!(", with {}", names.join(", ")) };
    say!("wrote {}{more}", file.display());
    let option = if name_of(file) == "atelier.toml" && folder.as_os_str().is_empty() {
        String::new()
    } else {
        format!(" --config {}", file.display())
    };
    say!("next, in this terminal:   atelier serve{option}");
    say!(
        "then, in another one:     curl -s localhost:8420/v1/images/generations -d '{{\"prompt\": \"a red fox\"}}' \\"
    );
    say!("                            -H 'content-type: application/json' | head -c 300");
    say!("or look at http://localhost:8420");
    Ok(())
}

/// Asks all addresses; without any, those of this machine, where it is no fault that nobody answers.
async fn find(addresses: &[String]) -> Result<Vec<Recognised>, Failure> {
    let mut found: Vec<Recognised> = Vec::new();
    if addresses.is_empty() {
        for address in LOCAL {
            if let Ok(server) = recognise(address).await {
                told(&server);
                found.push(server);
            }
        }
        if found.is_empty() {
            let problem = format!(
                "no diffusion server answers at {}: start one, or write its address, as in atelier init \
                 http://10.0.0.7:8188",
                LOCAL.join(", ")
            );
            return Err(Failure::Refused(anyhow::Error::msg(problem)));
        }
        return Ok(found);
    }
    for address in addresses {
        let server =
            recognise(address).await.map_err(|p| Failure::Refused(anyhow::Error::msg(p)))?;
        if found.iter().any(|other| other.url == server.url) {
            return Err(Failure::refused(&server.url, "it is there twice: allowed is once"));
        }
        told(&server);
        found.push(server);
    }
    Ok(found)
}

fn told(server: &Recognised) {
    let models = match &server.models[..] {
        [] => String::new(),
        [one] => format!(", with {one}"),
        several => format!(", with {} models: {}", several.len(), shortened(several)),
    };
    say!("{} is {}{models}", server.url, server.kind.title());
}

fn shortened(models: &[String]) -> String {
    const SHOWN: usize = 4;
    let more = models.len().saturating_sub(SHOWN);
    let shown = models[..models.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Shows where workflows take their inputs.
fn show(draft: &Draft) {
    for (file, inputs) in draft.inputs() {
        say!("{file} takes");
        for [name, place, what] in inputs {
            say!("  {name:<16} at {place:<16} {what}");
        }
    }
}

/// Asks whether that is right, if there is somebody to ask.
fn confirm() -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let _ = write!(io::stderr(), "Is that right? [Y/n] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    if matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes") {
        return Ok(());
    }
    let problem = "nothing was written: name what is elsewhere, as in --input prompt=6.text";
    Err(Failure::Refused(anyhow::Error::msg(problem)))
}

/// Measures each server; one that cannot be is no reason to write nothing.
fn measure(
    runtime: &Runtime,
    draft: &Draft,
) -> Result<BTreeMap<String, Result<Measured, String>>, Failure> {
    let scratch =
        tempfile::tempdir().context("cannot create a folder for what is measured with")?;
    let scratch = scratch.path();
    for beside in draft.files() {
        write(&scratch.join(&beside.name), &beside)?;
    }
    let text = draft.text(scratch, &BTreeMap::new());
    let config = Config::parse("the draft", &text).map_err(anyhow::Error::from)?;
    let connect: gateway::BackendFactory = Arc::new(gateway::config::connect);
    let mut measured = BTreeMap::new();
    for server in &config.servers {
        let name = server.name.get_ref().clone();
        say!("{name}: painting eight pictures to see how fast it is …");
        let result = runtime.block_on(calibrate_one(&config, &connect, server));
        match &result {
            Ok(Measured { speed, .. }) => {
                let (rate, overhead) = (speed.rate.steps_per_second(), speed.overhead.seconds());
                say!("{name}: {rate:.2} steps/s and {overhead:.2} s of overhead");
            }
            Err(error) => say!("{name}: not measured: {}", error.problem),
        }
        let result = result.map_err(|error| format!("Not measured: {}.", error.problem));
        measured.insert(name, result);
    }
    Ok(measured)
}

/// A workflow file, with the model that it is for if one is named.
fn read(text: &str) -> Result<WorkflowFile, Failure> {
    let named = text.split_once('=').filter(|_| !Path::new(text).exists());
    let (model, file) = named.map_or((None, text), |(model, file)| (Some(model.to_owned()), file));
    let text = fs::read_to_string(file).map_err(|error| Failure::refused(file, error))?;
    Ok(WorkflowFile { file: file.into(), model, text })
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is there stays.
fn free(file: &Path) -> Result<(), Failure> {
    if file.file_name().is_none() {
        return Err(Failure::refused(file.display(), "it is no path of a file"));
    }
    if fs::symlink_metadata(file).is_ok() {
        let problem =
            "it is there already, and nothing is overwritten: move it away, or write --config FILE";
        return Err(Failure::refused(file.display(), problem));
    }
    Ok(())
}

/// Writes a file that is not there yet.
fn write(path: &Path, file: &DraftFile) -> Result<(), Failure> {
    let readers = if file.secret { Readers::Owner } else { Readers::AsUsual };
    let written = writing::create_new(path, &file.text, readers);
    written.with_context(|| format!("cannot write {}", path.display())).map_err(Failure::from)
}
