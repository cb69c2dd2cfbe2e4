//! A schedule as a Gantt chart: servers as lanes, requests as bars, coloured by how late they are.
//!
//! Time runs to the right and, like text, goes on in the next line: thousands of requests stay as
//! wide as they need to be seen, and the picture scrolls down and prints.

use std::io::{self, Write};

use scheduling::{Instance, Row};

use super::format::{Format, Medium};
use super::picture::{Anchor, Picture};
use super::scale::{Scale, label};
use super::svg::{self, END};

/// Part of a schedule, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Where the picture begins.
    pub from: f64,
    /// Where it ends; the end of the schedule unless told.
    pub to: Option<f64>,
}

const WIDTH: f64 = 1400.0;
const RIGHT: f64 = 34.0;
/// A lane, from top to bottom: the backlog, the times left until requests are due, their bars.
const LANE: f64 = 31.0;
const BACKLOG: f64 = 10.0;
const BAR_TOP: f64 = 17.0;
const BAR_HEIGHT: f64 = 13.0;
/// Between two lines of time, with the ticks.
const GAP: f64 = 46.0;
/// A bar of the median length is about this wide, unless there are too many lines.
const BAR: f64 = 34.0;
const MOST_LINES: f64 = 60.0;

/// From how many seconds of tardiness on a bar has which colour.
const COLOURS: [(f64, &str, &str); 4] = [
    (0.0, "on-time", "on time"),
    (1e-9, "late-1", "up to 1 s late"),
    (1.0, "late-2", "up to 10 s late"),
    (10.0, "late-3", "later"),
];

/// Writes the schedule as an SVG file, line by line.
///
/// # Errors
/// The writer's.
pub fn write_gantt(
    instance: &Instance,
    rows: &[Row],
    policy: &str,
    window: Option<Window>,
    out: &mut impl Write,
) -> io::Result<()> {
    let servers = instance.cluster();
    let end = rows.iter().map(|row| row.finish).fold(0.0, f64::max);
    let from = window.map_or(0.0, |window| window.from);
    let to = window.and_then(|window| window.to).unwrap_or(end).max(from + 1e-3);
    let backlogs: Vec<Vec<[f64; 2]>> = (0..servers.len()).map(|s| backlog(rows, s)).collect();
    let within = |at: f64| (from..=to).contains(&at);
    let deepest = (backlogs.iter().flatten()).filter(|point| within(point[0]));
    let deepest = deepest.map(|point| point[1]).fold(0.0, f64::max);
    let rows = || rows.iter().filter(move |row| row.finish > from && row.start < to);
    let name = |index: usize| {
        format!(
            "{}  {} steps/s",
            servers[index].name,
            label(f64::from(servers[index].step_rate), 1)
        )
    };
    let format = Format { width: WIDTH, medium: Medium::Page };
    let names = (0..servers.len()).map(|index| format.text_width("note", &name(index)));
    let left = 26.0 + names.fold(0.0, f64::max);
    let span = seconds_per_line(rows(), to - from, WIDTH - left - RIGHT);
    let lines = ((to - from) / span).ceil().max(1.0) as usize;
    let line_height = servers.len() as f64 * LANE + GAP;
    let mut picture = Picture::new(format, &format!("Schedule of {policy}"));
    let loads = rows().any(|row| load(row) > 0.0);
    let first = legend(&mut picture, policy, rows().count(), loads, deepest);
    picture.height = first + 8.0 + lines as f64 * line_height;
    write!(out, "{}", svg::start_of_file(&picture))?;
    for line in 0..lines {
        let start = from + line as f64 * span;
        let top = first + line as f64 * line_height;
        let bottom = top + servers.len() as f64 * LANE;
        let x = Scale::linear([start, start + span], [left, WIDTH - RIGHT]);
        for server in 0..servers.len() {
            let y = top + server as f64 * LANE;
            picture.text("note", [left - 8.0, y + 27.0], Anchor::End, &name(server));
            if server % 2 == 0 {
                picture.rect("lane", [left, y], [WIDTH - RIGHT - left, LANE]);
            }
        }
        for (value, label) in x.ticks(90.0) {
            picture.line("grid", [x.at(value), top], [x.at(value), bottom + 4.0]);
            picture.text("tick", [x.at(value), bottom + 17.0], Anchor::Middle, &(label + " s"));
        }
        for (server, backlog) in backlogs.iter().enumerate() {
            let base = top + server as f64 * LANE + BACKLOG;
            draw_backlog(&mut picture, backlog, &x, base, BACKLOG - 1.0, deepest);
        }
        let seen =
            |row: &&Row| row.finish.max(row.due) > start && row.start.min(row.due) < start + span;
        for row in rows().filter(seen) {
            bar(&mut picture, row, &Model::of(instance, row), &x, top);
        }
        write!(out, "{}", svg::shapes(&std::mem::take(&mut picture.shapes)))?;
    }
    write!(out, "{END}")
}

/// Times, and the seconds that a server then needs for all that has come to it: up where a request
/// arrives, and down one second in each.
fn backlog(rows: &[Row], server: usize) -> Vec<[f64; 2]> {
    let mut own: Vec<&Row> = rows.iter().filter(|row| row.server == server).collect();
    own.sort_by(|a, b| a.arrival.total_cmp(&b.arrival));
    let mut points = vec![[0.0, 0.0]];
    let mut free = 0.0;
    for row in own {
        if free <= row.arrival {
            points.extend([[free, 0.0], [row.arrival, 0.0]]);
        } else {
            points.push([row.arrival, free - row.arrival]);
        }
        free = row.finish.max(free);
        points.push([row.arrival, free - row.arrival]);
    }
    points.push([free, 0.0]);
    points
}

fn draw_backlog(
    picture: &mut Picture,
    points: &[[f64; 2]],
    x: &Scale,
    base: f64,
    height: f64,
    deepest: f64,
) {
    let [start, end] = x.values();
    // What lies before and after stands upright at the edge, where it covers nothing.
    let before = points.partition_point(|point| point[0] < start).saturating_sub(1);
    let after = points.partition_point(|point| point[0] <= end);
    let mut area = Vec::new();
    for pair in points[before..(after + 1).min(points.len())].windows(2) {
        let [[t0, v0], [t1, v1]] = [pair[0], pair[1]];
        for t in [t0.clamp(start, end), t1.clamp(start, end)] {
            let value = if t1 > t0 { v0 + (v1 - v0) * (t - t0) / (t1 - t0) } else { v1 };
            let value = if t == t0 { v0 } else { value };
            area.push([x.at(t), base - height * value / deepest.max(1e-9)]);
        }
    }
    let (Some(first), Some(last)) = (area.first().copied(), area.last().copied()) else { return };
    if area.iter().any(|point| point[1] < base - 0.05) {
        area.extend([[last[0], base], [first[0], base]]);
        picture.polygon("backlog", &area);
    }
}

/// Enough pixels for a bar of the median length, but not more than so many lines.
fn seconds_per_line<'a>(rows: impl Iterator<Item = &'a Row>, span: f64, width: f64) -> f64 {
    let mut lengths: Vec<f64> = rows.map(|row| row.finish - row.start).collect();
    lengths.sort_by(f64::total_cmp);
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(1.0).max(1e-3);
    let wanted = (width / BAR * median).max(span / MOST_LINES);
    // Round, so that lines begin at round times.
    let power = 10f64.powf(wanted.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let round = round.into_iter().find(|&round| round >= wanted).unwrap_or(wanted);
    round.min(span)
}

/// How long a run loads its model, in seconds.
fn load(row: &Row) -> f64 {
    row.beyond.map_or(0.0, |beyond| beyond.load)
}

/// What is said of the model of a row, where the instance has models.
struct Model {
    /// Its name; empty where there are no models.
    name: String,
    tip: String,
}

impl Model {
    fn of(instance: &Instance, row: &Row) -> Self {
        let models = instance.cluster().models();
        let Some(name) = row.beyond.and_then(|beyond| models.get(beyond.model.index())) else {
            return Self { name: String::new(), tip: String::new() };
        };
        let tip = match load(row) {
            load if load > 0.0 => format!("\nmodel {name}, loaded for {} s", label(load, 1)),
            _ => format!("\nmodel {name}"),
        };
        Self { name: name.clone(), tip }
    }
}

/// Says what everything is, in as many lines as it takes, and returns the height below.
fn legend(picture: &mut Picture, policy: &str, requests: usize, loads: bool, deepest: f64) -> f64 {
    let title = format!("{policy}: {requests} requests");
    picture.text("heading", [20.0, 24.0], Anchor::Start, &title);
    let mut entries: Vec<(&str, String)> =
        COLOURS.map(|(_, class, text)| (class, text.to_owned())).to_vec();
    if loads {
        entries.push(("load", "loads a model".into()));
    }
    entries.extend([
        ("steps", if loads { "model and steps" } else { "steps" }.into()),
        ("spare", "from the end to the due time".into()),
        ("overdue", "from the due time to the end, where that is later".into()),
        ("backlog", format!("backlog of the server, up to {} s", label(deepest, 1))),
    ]);
    let (mut x, mut y) = (20.0, 48.0);
    for (class, text) in entries {
        let width = 24.0 + picture.text_width("key", &text) + 22.0;
        if x + width > WIDTH - RIGHT {
            (x, y) = (20.0, y + 20.0);
        }
        match class {
            "load" => {
                picture.rect(COLOURS[0].1, [x, y - 10.0], [18.0, 12.0]);
                picture.rect("load", [x + 1.5, y - 8.5], [10.0, 9.0]);
            }
            "steps" => {
                picture.rect(COLOURS[0].1, [x, y - 10.0], [20.0, 12.0]);
                picture.text("inside", [x + 10.0, y - 1.0], Anchor::Middle, "45");
            }
            "spare" => whisker(picture, "spare", "due", [x, x + 18.0], x + 18.0, y - 4.0),
            "overdue" => whisker(picture, "overdue", "missed", [x, x + 18.0], x, y - 4.0),
            "backlog" => {
                let corners = [[x, y + 1.0], [x, y - 9.0], [x + 18.0, y + 1.0]];
                picture.polygon(class, &corners);
            }
            _ => picture.rect(class, [x, y - 10.0], [18.0, 12.0]),
        }
        picture.text("key", [x + 25.0, y], Anchor::Start, &text);
        x += width;
    }
    y + 22.0
}

/// A line between the end of a request and its due time, with a mark at the latter.
fn whisker(picture: &mut Picture, line: &str, mark: &str, [from, to]: [f64; 2], due: f64, y: f64) {
    picture.line(line, [from, y], [to, y]);
    picture.polygon(mark, &[[due - 2.2, y - 2.6], [due + 2.2, y - 2.6], [due, y + 2.2]]);
}

fn bar(picture: &mut Picture, row: &Row, model: &Model, x: &Scale, top: f64) {
    let (_, class, _) =
        COLOURS.into_iter().rfind(|(least, ..)| row.tardiness >= *least).unwrap_or(COLOURS[0]);
    let lane = top + row.server as f64 * LANE;
    due(picture, row, x, lane);
    let [first, last] = x.values();
    if row.finish <= first || row.start >= last {
        return;
    }
    let (start, end) = (x.clamped(row.start), x.clamped(row.finish));
    // The gap keeps neighbours apart.
    let width = (end - start - 0.6).max(0.8);
    let y = lane + BAR_TOP;
    let tip = format!(
        "request {}: {} steps, quality {}\narrival {} s, start {} s, finish {} s, due {} s\n\
         tardiness {} s, reward {}{}",
        row.request,
        row.steps,
        label(row.quality, 1),
        label(row.arrival, 1),
        label(row.start, 1),
        label(row.finish, 1),
        label(row.due, 1),
        label(row.tardiness, 1),
        label(row.reward, 1),
        model.tip,
    );
    picture.telling_rect(class, [start, y], [width, BAR_HEIGHT], &tip);
    // Hollow as long as nothing is drawn yet.
    let loaded = if load(row) > 0.0 { x.clamped(row.start + load(row)) } else { start };
    if loaded - start > 3.0 {
        let size = [loaded - start - 1.5, BAR_HEIGHT - 3.0];
        picture.telling_rect("load", [start + 1.5, y + 1.5], size, &tip);
    }
    let room = start + width - loaded;
    let steps = row.steps.to_string();
    let named = format!("{} {steps}", model.name);
    let fits = |text: &&String| picture.text_width("inside", text) + 3.0 < room;
    let text = [&named, &steps].into_iter().skip(usize::from(model.name.is_empty())).find(fits);
    if let Some(text) = text.cloned() {
        let ink = if class == "late-3" { "inside on-dark" } else { "inside" };
        picture.text(ink, [loaded + room / 2.0, y + 9.8], Anchor::Middle, &text);
    }
}

/// How long before or after its end a request was due, above its bar. Neighbours take turns in three
/// heights, as several may run side by side.
fn due(picture: &mut Picture, row: &Row, x: &Scale, lane: f64) {
    let [first, last] = x.values();
    let [from, to] = [row.finish.min(row.due), row.finish.max(row.due)];
    if to <= first || from >= last {
        return;
    }
    let y = lane + BACKLOG + 1.5 + 2.0 * (row.request % 3) as f64;
    let (line, mark) = if row.due < row.finish { ("overdue", "missed") } else { ("spare", "due") };
    let ends = [x.clamped(from), x.clamped(to)];
    if (first..=last).contains(&row.finish) {
        let end = x.at(row.finish);
        picture.line(line, [end, y], [end, lane + BAR_TOP]);
    }
    if (first..=last).contains(&row.due) {
        whisker(picture, line, mark, ends, x.at(row.due), y);
    } else {
        picture.line(line, [ends[0], y], [ends[1], y]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::Rule;
    use simulation::{Episode, InstanceSource, Scenario, simulate};

    fn chart(name: &str, requests: usize, window: Option<Window>) -> (String, usize) {
        let scenario = Scenario::from_toml(include_str!("../../../../scenarios/contended.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = requests))
            .unwrap();
        let instance = scenario.instance(1, Episode::Evaluation(0));
        let generator = scheduling::Generator::new(1, scheduling::Purpose::Policy, 0);
        let rule: Rule = name.parse().unwrap();
        let rows = simulate(&instance, &mut *rule.policy(generator));
        let inside = rows.iter().filter(|row| row.finish > 100.0 && row.start < 150.0).count();
        let mut svg = Vec::new();
        write_gantt(&instance, &rows, name, window, &mut svg).unwrap();
        (String::from_utf8(svg).unwrap(), inside)
    }

    #[test]
    fn the_bytes_are_those_of_the_golden_file() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden-gantt.svg");
        let (svg, _) = chart("greedy", 12, None);
        if std::fs::read_to_string(golden).unwrap() != svg {
            let file = std::env::temp_dir().join("golden-gantt.svg");
            std::fs::write(&file, svg).unwrap();
            panic!("{} differs from {golden}: look at it, and put it there", file.display());
        }
    }

    #[test]
    fn loads_are_hollow_and_named() {
        let fleet = Scenario::from_toml(include_str!("../../../../scenarios/fleet.toml"))
            .and_then(|scenario| scenario.with(|settings| settings.requests = 40))
            .unwrap();
        let instance = fleet.instance(1, Episode::Evaluation(0));
        let rows = simulate(&instance, &mut scheduling::policies::Greedy::default());
        let mut svg = Vec::new();
        write_gantt(&instance, &rows, "greedy", None, &mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        let loads = rows.iter().filter(|row| load(row) > 0.0).count();
        assert!(loads > 5 && svg.matches(", loaded for 9").count() >= 2 * loads, "{loads}");
        // One more in the legend.
        assert!(svg.matches(r#"class="load""#).count() > loads);
        assert!(svg.contains("loads a model") && svg.contains("model m0</title>"));
        assert!(!chart("greedy", 40, None).0.contains("loads a model"));
    }

    #[test]
    fn every_request_has_a_bar() {
        let (svg, _) = chart("myopic", 300, None);
        for request in 0..300 {
            assert!(svg.contains(&format!("<title>request {request}:")), "{request}");
        }
        assert!(svg.contains("s9  ") && svg.contains("steps/s") && svg.contains("myopic: 300"));
    }

    #[test]
    fn a_window_shows_what_runs_within_it() {
        let (svg, inside) = chart("myopic", 300, Some(Window { from: 100.0, to: Some(150.0) }));
        assert!(svg.contains(&format!("myopic: {inside} requests")), "{inside}");
        assert!(!svg.contains("<title>request 0:"));
    }
}
