//! A schedule as a Gantt chart: servers as lanes, requests as bars, coloured by how late they are.
//!
//! Time runs to the right and, like text, goes on in the next line: thousands of requests stay as
//! wide as they need to be seen, and the picture scrolls down and prints.

use std::io::{self, Write};

use scheduling::{Instance, Row};

use super::scale::{Scale, label};
use super::svg::{Anchor, END, Svg, text_width};

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
const LANE: f64 = 16.0;
/// Between two lines of time, with the ticks.
const GAP: f64 = 46.0;
/// A bar of the median length is about this wide, unless there are too many lines.
const BAR: f64 = 30.0;
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
    let rows = || rows.iter().filter(move |row| row.finish > from && row.start < to);
    let name = |index: usize| {
        format!(
            "{}  {} steps/s",
            servers[index].name,
            label(f64::from(servers[index].step_rate), 1)
        )
    };
    let names = (0..servers.len()).map(|index| text_width(&name(index), 11.0));
    let left = 26.0 + names.fold(0.0, f64::max);
    let span = seconds_per_line(rows(), to - from, WIDTH - left - RIGHT);
    let lines = ((to - from) / span).ceil().max(1.0) as usize;
    let line_height = servers.len() as f64 * LANE + GAP;
    let mut svg =
        Svg::new(WIDTH, 70.0 + lines as f64 * line_height, &format!("Schedule of {policy}"));
    write!(out, "{}", svg.start_of_file())?;
    let loads = rows().any(|row| load(row) > 0.0);
    legend(&mut svg, policy, rows().count(), loads);
    for line in 0..lines {
        let start = from + line as f64 * span;
        let top = 62.0 + line as f64 * line_height;
        let bottom = top + servers.len() as f64 * LANE;
        let x = Scale::linear([start, start + span], [left, WIDTH - RIGHT]);
        for server in 0..servers.len() {
            let y = top + server as f64 * LANE;
            svg.text("note", [left - 8.0, y + 12.0], Anchor::End, &name(server));
            if server % 2 == 0 {
                svg.rect("lane", [left, y], [WIDTH - RIGHT - left, LANE], "");
            }
        }
        for (value, label) in x.ticks(90.0) {
            svg.line("grid", [x.at(value), top], [x.at(value), bottom + 4.0]);
            svg.text("tick", [x.at(value), bottom + 17.0], Anchor::Middle, &(label + " s"));
        }
        for row in rows().filter(|row| row.finish > start && row.start < start + span) {
            bar(&mut svg, row, &model_of(instance, row), &x, top);
        }
        write!(out, "{}", svg.take_shapes())?;
    }
    write!(out, "{END}")
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
fn model_of(instance: &Instance, row: &Row) -> String {
    let model = row.beyond.and_then(|beyond| instance.cluster().models().get(beyond.model.index()));
    model.map_or(String::new(), |model| match load(row) {
        load if load > 0.0 => format!("\nmodel {model}, loaded for {} s", label(load, 1)),
        _ => format!("\nmodel {model}"),
    })
}

fn legend(svg: &mut Svg, policy: &str, requests: usize, loads: bool) {
    let title = format!("{policy}: {requests} requests");
    svg.text("heading", [20.0, 28.0], Anchor::Start, &title);
    let mut x = 50.0 + text_width(&title, 14.0);
    for (_, class, text) in COLOURS {
        svg.rect(class, [x, 18.0], [18.0, 12.0], "");
        svg.text("key", [x + 24.0, 28.0], Anchor::Start, text);
        x += 48.0 + text_width(text, 12.0);
    }
    if loads {
        svg.rect(COLOURS[0].1, [x, 18.0], [18.0, 12.0], "");
        svg.rect("hollow", [x + 2.0, 20.0], [14.0, 8.0], "");
        let text = "loads a model";
        svg.text("key", [x + 24.0, 28.0], Anchor::Start, text);
        x += 48.0 + text_width(text, 12.0);
    }
    svg.text("note", [x, 28.0], Anchor::Start, "numbers: requests, where there is room");
}

fn bar(svg: &mut Svg, row: &Row, model: &str, x: &Scale, top: f64) {
    let (_, class, _) =
        COLOURS.into_iter().rfind(|(least, ..)| row.tardiness >= *least).unwrap_or(COLOURS[0]);
    let (start, end) = (x.clamped(row.start), x.clamped(row.finish));
    // The gap keeps neighbours apart.
    let width = (end - start - 0.6).max(0.8);
    let y = top + row.server as f64 * LANE + 1.5;
    let tip = format!(
        "request {}: {} steps, quality {}\narrival {} s, start {} s, finish {} s, due {} s\n\
         tardiness {} s, reward {}{model}",
        row.request,
        row.steps,
        label(row.quality, 1),
        label(row.arrival, 1),
        label(row.start, 1),
        label(row.finish, 1),
        label(row.due, 1),
        label(row.tardiness, 1),
        label(row.reward, 1),
    );
    svg.rect(class, [start, y], [width, LANE - 3.0], &tip);
    // Hollow as long as nothing is drawn yet.
    let loaded = if load(row) > 0.0 { x.clamped(row.start + load(row)) } else { start };
    if loaded - start > 3.0 {
        svg.rect("hollow", [start + 1.5, y + 1.5], [loaded - start - 1.5, LANE - 6.0], &tip);
    }
    let number = row.request.to_string();
    let width = start + width - loaded;
    if text_width(&number, 9.0) + 4.0 < width {
        let ink = if class == "late-3" { "inside on-dark" } else { "inside" };
        svg.text(ink, [loaded + width / 2.0, y + 9.6], Anchor::Middle, &number);
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
        assert!(chart("greedy", 12, None).0 == include_str!("../../tests/golden-gantt.svg"));
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
        assert!(svg.matches(r#"class="hollow""#).count() > loads);
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
