//! The report: one page that opens offline, drawn from the rows of the studies alone.

use std::fmt::Write as _;
use std::path::Path;

use simulation::Metrics;

use crate::claims::judge::judge;
use crate::claims::paper::{Evidence, Requests, claims};
use crate::claims::{Claim, Verdict, plain};
use crate::figures::svg::{self, escape};
use crate::figures::{
    Drawing, Format, Picture, distribution, gain, instances, label, learning_curve, page_sheet,
    sweep,
};
use crate::results::{CurveRow, InstanceRow, RequestRow, ResultsError, VERSION, read_csv, write};
use crate::schedule::CLAIRVOYANT;
use crate::statistics::{Figure, Finding, Series, out_of_proportion, series};
use crate::study::{Effort, FigureKind, Panel, PanelFile, Study};

mod print;
mod text;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The paper, whose claims it judges; about the studies alone where none of them repeats a figure of the paper.
    Paper,
    /// The studies themselves.
    Studies,
}

impl Subject {
    fn of(self, studies: &[Study]) -> Self {
        let repeats = studies.iter().any(|study| study.file.repeats.is_some());
        if repeats { self } else { Self::Studies }
    }
}

/// Writes `out/index.html` and, for papers, `out/figures/*.svg` and `*.pdf` from `out/rows`, and gives the claims that
/// were judged.
///
/// # Errors
/// [`ResultsError`] if rows cannot be read or a file cannot be written.
pub fn report(
    studies: &[Study],
    effort: Effort,
    subject: Subject,
    out: &Path,
) -> Result<Vec<Claim>, ResultsError> {
    let subject = subject.of(studies);
    let mut evidence = Evidence { quick: effort == Effort::Quick, ..Default::default() };
    let mut claimed = Vec::new();
    let mut sections = String::new();
    for (index, study) in studies.iter().enumerate() {
        let rows = Rows::read(study, out)?;
        let files = print::write_figures(study, &rows, out)?;
        let heading = if studies.len() == 1 { Heading::OfThePage } else { Heading::OfTheSection };
        section(&mut sections, index + 1, study, heading, &rows, &files);
        claimed.extend(judge(study, &rows.instances));
        evidence.take(study, rows);
    }
    if subject == Subject::Paper {
        claimed.splice(0..0, claims(&evidence));
    }
    let page = page(studies, effort, subject, &evidence, &claimed, &sections);
    write(&out.join("index.html"), page)?;
    Ok(claimed)
}

/// Where the title of a study stands.
#[derive(Clone, Copy, PartialEq)]
enum Heading {
    OfThePage,
    OfTheSection,
}

/// The rows of a study, of the kind that its figure needs.
#[derive(Default)]
struct Rows {
    instances: Vec<InstanceRow>,
    requests: Vec<RequestRow>,
    curves: Vec<CurveRow>,
}

impl Rows {
    fn read(study: &Study, out: &Path) -> Result<Self, ResultsError> {
        let file = |what: &str| out.join("rows").join(format!("{}{what}.csv", study.name));
        let mut rows = Self::default();
        match study.file.figure {
            FigureKind::Distribution => rows.requests = read_csv(&file(""))?,
            FigureKind::LearningCurve => {
                rows.instances = read_csv(&file(""))?;
                rows.curves = read_csv(&file("-curves"))?;
            }
            FigureKind::Instances | FigureKind::Sweep | FigureKind::Gain => {
                rows.instances = read_csv(&file(""))?;
            }
        }
        Ok(rows)
    }

    /// The figure of a study, or of one of its panels.
    fn figure(&self, study: &Study, panels: &[PanelFile], format: Format) -> Picture {
        let title = &text::plain(&text::filled(&study.file.title, study));
        let titled = |panel: &PanelFile| PanelFile {
            title: text::plain(&text::filled(&panel.title, study)),
            ..panel.clone()
        };
        let panels = &panels.iter().map(titled).collect::<Vec<_>>();
        let drawing = Drawing { study, panels, format, title };
        match study.file.figure {
            FigureKind::LearningCurve => learning_curve(&drawing, &self.instances, &self.curves),
            FigureKind::Instances => instances(&drawing, &self.instances),
            FigureKind::Distribution => distribution(&drawing, &self.requests),
            FigureKind::Sweep => sweep(&drawing, &self.instances),
            FigureKind::Gain => gain(&drawing, &self.instances),
        }
    }
}

impl Evidence {
    /// Some claims are about the committed studies, known by their names.
    fn take(&mut self, study: &Study, rows: Rows) {
        match study.name.as_str() {
            "1-learning" => self.curves = rows.curves,
            "2-instances" => self.instances = rows.instances,
            "3-requests" => {
                let names = study.file.panels.iter().map(|panel| panel.name.clone());
                let settings = study.panels.iter().map(|panel| panel.setting.clone());
                let settings = names.zip(settings).collect();
                self.requests = Requests { rows: rows.requests, settings, seed: study.file.seed };
            }
            "6-any-cluster" => self.any_cluster = rows.instances,
            _ => {}
        }
    }
}

fn page(
    studies: &[Study],
    effort: Effort,
    subject: Subject,
    evidence: &Evidence,
    claimed: &[Claim],
    sections: &str,
) -> String {
    let mut page = String::new();
    let command = match subject {
        Subject::Paper => "atelier reproduce",
        Subject::Studies => "atelier study",
    };
    let quick = match effort {
        Effort::Full => String::new(),
        Effort::Quick => format!(
            "<p class=\"warning\"><strong>Quick run.</strong> Trainings were cut short and instances are few, \
             as the studies have it for such a run: agents are far from what they can do, and no verdict \
             about them should be quoted. <code>{command}</code> without <code>--quick</code> gives the full \
             report.</p>\n"
        ),
    };
    let (title, lead) = match (subject, studies) {
        (Subject::Paper, _) => (
            "Online AIGC request scheduling, reproduced".to_owned(),
            "<p class=\"lead\">The evaluation of <cite>Online AI-Generated Content Request Scheduling with \
             Deep Reinforcement Learning</cite> (Feng, Zheng, Xu), repeated in simulation, checked claim by \
             claim, and continued where it stops: under contention, on other clusters, and against stronger \
             rules.</p>\n",
        ),
        (Subject::Studies, [study]) => (study.file.title.clone(), ""),
        (Subject::Studies, studies) => {
            let names: Vec<_> = studies.iter().map(|study| &*study.name).collect();
            (format!("Studies: {}", names.join(", ")), "")
        }
    };
    let title = escape(&title);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n\
         <style>{}{PAGE_STYLE}</style>\n{UNFOLDING}</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n{lead}{quick}",
        page_sheet()
    );
    let (papers, own): (Vec<_>, Vec<_>) =
        claimed.iter().partition(|claim| subject == Subject::Paper && claim.paper.is_some());
    if subject == Subject::Paper {
        page.push_str("<h2 id=\"claims\">The paper’s claims</h2>\n");
        table_of_claims(&mut page, &papers);
        reading(&mut page);
        page.push_str("<h2 id=\"beyond\">What the paper did not ask</h2>\n");
        table_of_claims(&mut page, &own);
        assumptions(&mut page, evidence);
    } else if !own.is_empty() {
        page.push_str("<h2 id=\"claims\">Claims</h2>\n");
        table_of_claims(&mut page, &own);
        reading(&mut page);
    }
    page.push_str(sections);
    let files: Vec<_> = studies
        .iter()
        .map(|study| format!("<a href=\"rows/{0}.csv\">{0}.csv</a>", escape(&study.name)))
        .collect();
    let _ = write!(
        page,
        "<h2 id=\"rows\">Rows</h2>\n<p>Every figure and number above comes from these files, each \
         line of which names its scenario, seed and version: {}. Version {VERSION}; the same seeds \
         and version give the same rows on any number of threads.</p>\n</main>\n</body>\n</html>\n",
        files.join(", ")
    );
    page
}

/// How the table of claims is to be read.
fn reading(page: &mut String) {
    page.push_str(
        "<p class=\"small\">In brackets: the 95 % bootstrap interval over instances, for differences \
         paired on common instances; then the lowest and the highest training seed. A claim holds only if \
         it does for the interval and for every seed, wherever it is said to; it does not hold where all of \
         them say the contrary. <em>Depends</em> means that another reading or setting says otherwise. A \
         policy named by its checkpoint, such as agent[universal], is one training: its intervals are over \
         instances alone.</p>\n",
    );
}

fn table_of_claims(page: &mut String, claims: &[&Claim]) {
    page.push_str(
        "<div class=\"table\"><table class=\"claims\">\n<thead><tr><th>Claim</th><th>Measured</th><th>Verdict</th></tr>\
         </thead>\n<tbody>\n",
    );
    for Claim { statement, paper, measured, places, verdict, .. } in claims {
        let class = match verdict {
            Verdict::Holds => "yes",
            Verdict::DoesNotHold => "no",
            Verdict::Depends | Verdict::NotDecided => "maybe",
        };
        let paper = paper.as_ref().map_or(String::new(), |place| {
            format!(" <span class=\"repeats\">{}</span>", escape(place).replace(' ', "\u{a0}"))
        });
        let places = if places.is_empty() {
            String::new()
        } else {
            let places: Vec<_> = places.iter().map(|place| text::marked_up(place)).collect();
            format!("<details><summary>at each</summary>{}</details>", places.join("<br>\n"))
        };
        let _ = writeln!(
            page,
            "<tr><td>{}{paper}</td><td>{}{places}</td><td class=\"verdict {class}\">{}</td></tr>",
            text::marked_up(statement),
            text::marked_up(measured),
            verdict.text()
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// Where the paper is silent or contradicts itself: what was assumed, what the other reading gives.
fn assumptions(page: &mut String, evidence: &Evidence) {
    let mean = |rows: &[InstanceRow], panel: &str, policy: &str, figure: Figure| {
        let found = series(rows, panel).into_iter().find(|s| s.policy == policy && s.x.is_none());
        found.map_or("–".to_owned(), |series| plain(&series.mean(figure, 1), 2, ""))
    };
    let reward: Figure = |m| m.reward;
    let (own, any) = (&evidence.instances, &evidence.any_cluster);
    let lines = [
        (
            "How often the cluster is drawn (“each server is initialized with a random GPU compute \
             capability”)",
            "Once, for training and evaluation alike: the paper’s state has no speeds, so its agent \
             can know a server only by its place",
            format!(
                "Anew for every instance: greedy {}, myopic {}, an agent trained that way {}",
                mean(any, "paper", "greedy", reward),
                mean(any, "paper", "myopic", reward),
                mean(any, "paper", "agent, trained there", reward)
            ),
        ),
        (
            "Which of several idle servers greedy takes",
            "The first. With few requests that is server 0 nearly always, so greedy’s reward hangs \
             on the speed of one server",
            format!(
                "The fastest: {} in place of {}",
                mean(own, "paper", "greedy[ties=fastest]", reward),
                mean(own, "paper", "greedy", reward)
            ),
        ),
        (
            "λ = 1/15",
            "Literally: one request every 15 s. At 120 steps per request the cluster is then loaded \
             to 0.07, and queues are nearly always empty",
            format!(
                "One request every second, a load of about 1: greedy {}, myopic {}, agent {}",
                mean(own, "contended", "greedy", reward),
                mean(own, "contended", "myopic", reward),
                mean(own, "contended", "agent", reward)
            ),
        ),
        (
            "Whether figures 4 and 5 train anew at every point",
            "No: “we then test our trained AC agent on different server clusters”",
            "Yes: the hollow marks of figures 4 and 5. Without it the agent sends requests where its own \
             fast servers stood"
                .to_owned(),
        ),
        (
            "The unit of c: eq. (1) has seconds per step, §IV steps per second",
            "Steps per second, 12 to 18 and 6 to 10",
            "Seconds per step would make a picture of 50 steps take 10 minutes".to_owned(),
        ),
        (
            "What greedy does when not even one step fits before the due time",
            "One step, late",
            "Refusing the request is not an action of the paper’s".to_owned(),
        ),
    ];
    page.push_str(
        "<h2 id=\"assumptions\">Where the paper is silent or contradicts itself</h2>\n\
         <div class=\"table\"><table>\n\
         <thead><tr><th>Open</th><th>Assumed here</th><th>The other reading (reward per request)\
         </th></tr></thead>\n<tbody>\n",
    );
    for (open, assumed, other) in lines {
        let [open, assumed, other] = [open, assumed, &other].map(text::marked_up);
        let _ = writeln!(page, "<tr><td>{open}</td><td>{assumed}</td><td>{other}</td></tr>");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn section(
    page: &mut String,
    number: usize,
    study: &Study,
    heading: Heading,
    rows: &Rows,
    files: &str,
) {
    let file = &study.file;
    let repeats = file.repeats.as_ref().map_or(String::new(), |figure| {
        format!(" <span class=\"repeats\">the paper’s {}</span>", escape(figure))
    });
    let [title, note] =
        [&file.title, &file.note].map(|text| text::marked_up(&text::filled(text.trim(), study)));
    let title = match heading {
        Heading::OfThePage => "Figure".to_owned(),
        Heading::OfTheSection => title,
    };
    let _ = write!(
        page,
        "<section id=\"{}\">\n<h2>{title}{repeats}</h2>\n<figure>\n<div class=\"picture\">\n{}\
         </div>\n<figcaption><b>Figure {number}.</b> {note} {} \
         <span class=\"files\">{files}</span></figcaption>\n</figure>\n",
        escape(&study.name),
        svg::inline(&rows.figure(study, &file.panels, Format::PAGE)),
        text::reading(study),
    );
    for (panel, described) in file.panels.iter().zip(&study.panels) {
        let all = series(&rows.instances, &panel.name);
        if !all.is_empty() && file.figure != FigureKind::LearningCurve {
            numbers(page, study, &panel.title, described, &all);
        }
    }
    page.push_str("</section>\n");
}

type Column = (&'static str, Figure, usize);

const COLUMNS: [Column; 5] = [
    ("reward", |m: &Metrics| m.reward, 2),
    ("quality", |m| m.quality, 2),
    ("tardiness, s", |m| m.tardiness, 2),
    ("late, %", |m| 100.0 * m.late_fraction, 1),
    ("p99 tardiness, s", |m| m.tardiness_p99, 2),
];

/// The numbers behind a figure, folded away.
fn numbers(page: &mut String, study: &Study, title: &str, panel: &Panel, all: &[Series]) {
    let swept = all.iter().any(|series| series.x.is_some());
    let x = if swept { "<th>at</th>" } else { "" };
    let mut heads = COLUMNS.map(|(name, ..)| format!("<th>{name}</th>")).concat();
    let known = study.file.clairvoyant.is_some();
    if known {
        heads.push_str("<th>regret</th><th>of possible, %</th>");
    }
    let open = if swept { "" } else { " open" };
    let _ = write!(
        page,
        "<details{open}><summary>{}: means per request</summary>\n<div class=\"table\"><table \
         class=\"numbers\">\n\
         <thead><tr><th>policy</th>{x}{heads}</tr></thead>\n<tbody>\n",
        text::marked_up(&text::filled(title, study))
    );
    for series in all {
        let at = panel.points.iter().find(|point| point.x == series.x);
        let at = at
            .filter(|_| swept)
            .map_or(String::new(), |p| format!("<td>{}</td>", escape(&p.label)));
        let seed = study.file.seed;
        let mut cells: String = (COLUMNS.iter())
            .map(|(_, figure, digits)| cell(&series.mean(*figure, seed), *digits))
            .collect();
        if known {
            cells.push_str(&against_clairvoyant(series, all, seed));
        }
        let _ = writeln!(page, "<tr><td>{}</td>{at}{cells}</tr>", escape(&series.policy));
    }
    let possible = study.file.clairvoyant.map_or(String::new(), |clairvoyant| {
        format!(
            " The clairvoyant is the best schedule that {} rounds of search find with full \
             knowledge of the arrivals, on {}; regret (clairvoyant − policy, in \
             reward per request) and share of the possible, (policy − greedy) / (clairvoyant − \
             greedy), are taken on these. <code>atelier bound</code> searches ten times longer \
             and proves how much more there can be.",
            clairvoyant.rounds,
            match clairvoyant.instances {
                1 => "the first instance".to_owned(),
                count => format!("the first {count} instances"),
            }
        )
    });
    let instances = panel.setting.instances(study.file.instances.unwrap_or(0));
    let requests = panel.setting.requests(instances);
    let what = match panel.setting.scenario() {
        Some(_) => format!("{instances} instances of {} requests", requests / instances.max(1)),
        None => format!("{instances} given instances with {requests} requests"),
    };
    let _ = write!(
        page,
        "</tbody>\n</table></div>\n<p class=\"small\">{what}, seed {}; ± half of the 95 % interval over \
         instances, and below it the range of the training seeds.{possible}</p>\n</details>\n",
        study.file.seed
    );
}

/// Regret and share of what was possible, where that is known.
fn against_clairvoyant(series: &Series, all: &[Series], seed: u64) -> String {
    let named = |name: &str| all.iter().find(|other| other.policy == name && other.x == series.x);
    let (Some(greedy), Some(clairvoyant)) = (named("greedy"), named(CLAIRVOYANT)) else {
        return "<td>–</td><td>–</td>".to_owned();
    };
    let regret = clairvoyant.difference(series, |m| m.reward, seed);
    let share = series.share_of_possible(greedy, clairvoyant, seed).scaled(100.0);
    cell(&regret, 2) + &share_cell(&share)
}

/// A share in per cent. One that is out of all proportion says no more than that.
fn share_cell(share: &Finding) -> String {
    match out_of_proportion(share.estimate.mean) {
        Some(bound) => format!("<td>{bound}</td>"),
        None => cell(share, 1),
    }
}

fn cell(finding: &Finding, digits: usize) -> String {
    // Large values need no digits behind the point.
    let digits = match finding.estimate.mean.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => digits.min(1),
        _ => digits,
    };
    let half = finding.estimate.ci95.map_or(String::new(), |[low, high]| {
        format!(" <span class=\"half\">± {}</span>", label((high - low) / 2.0, digits))
    });
    let seeds = finding.seeds.map_or(String::new(), |[low, high]| {
        let [low, high] = [low, high].map(|value| label(value, digits));
        format!("<br><span class=\"half\">{low} … {high}</span>")
    });
    format!("<td>{}{half}{seeds}</td>", label(finding.estimate.mean, digits))
}

/// For browsers that do not unfold by the style sheet what is printed.
const UNFOLDING: &str = "<script>
addEventListener('beforeprint', () => document.querySelectorAll('details:not([open])').forEach(
  (part) => { part.open = true; part.dataset.folded = ''; }));
addEventListener('afterprint', () => document.querySelectorAll('details[data-folded]').forEach(
  (part) => { part.open = false; delete part.dataset.folded; }));
</script>
";

/// How the page looks, beside its figures.
const PAGE_STYLE: &str = include_str!("report/page.css");
