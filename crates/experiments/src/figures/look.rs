//! How the classes of figures look: one table, from which style sheets are written and PDF is drawn.

use std::fmt::Write as _;
use std::sync::OnceLock;

use super::format::Medium;

/// A colour by its use, on white paper and on a dark screen.
#[derive(Debug, PartialEq)]
pub(crate) struct Ink {
    name: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn ink(name: &'static str, light: &'static str, dark: &'static str) -> Ink {
    Ink { name, light, dark }
}

/// The colours of policies are those of Okabe and Ito, lightened or darkened for contrast.
const INKS: [Ink; 19] = [
    ink("paper", "#ffffff", "#16181c"),
    ink("ink", "#1a1a1a", "#ececec"),
    ink("muted", "#5c5c5c", "#a8a8a8"),
    ink("grid", "#e4e4e4", "#30343a"),
    ink("line", "#8c8c8c", "#70757d"),
    ink("grey", "#7a7a7a", "#a0a0a0"),
    ink("orange", "#d98c00", "#f0aa28"),
    ink("vermillion", "#d55e00", "#f0713c"),
    ink("purple", "#b8578f", "#df8cbd"),
    ink("green", "#00855f", "#22bd8f"),
    ink("blue", "#0072b2", "#4aa5ea"),
    ink("sky", "#3fa3dd", "#8fd0f7"),
    ink("olive", "#857a00", "#d1c53c"),
    ink("on-time", "#9cc3e0", "#6d9fc4"),
    ink("late-1", "#f5c26b", "#e0a940"),
    ink("late-2", "#e07b24", "#e87a2a"),
    ink("late-3", "#a1260d", "#b8321a"),
    ink("bar-ink", "#111111", "#0b0b0b"),
    ink("white", "#ffffff", "#ffffff"),
];

/// The colours of policies, each with classes for lines, filled marks and bands.
pub(crate) const POLICY_INKS: [&str; 9] =
    ["grey", "orange", "vermillion", "purple", "green", "blue", "sky", "olive", "ink"];

impl Ink {
    fn named(name: &str) -> &'static Self {
        INKS.iter().find(|ink| ink.name == name).expect("the rules name inks of the table")
    }

    /// Red, green and blue on white paper, 0 to 1.
    pub(crate) fn rgb(&self) -> [f32; 3] {
        let part = |at: usize| u8::from_str_radix(&self.light[at..at + 2], 16);
        [1, 3, 5]
            .map(|at| f32::from(part(at).expect("colours of the table are hexadecimal")) / 255.0)
    }
}

/// One thing that a class decides. Lengths are in CSS pixels.
#[derive(Clone, Copy, Debug)]
enum Property {
    Fill(&'static str),
    Stroke(&'static str),
    NoFill,
    NoStroke,
    Width(f64),
    Dash(&'static [f64]),
    /// Of shapes that have either a fill or a stroke.
    Opacity(f64),
    FillOpacity(f64),
    StrokeOpacity(f64),
    /// Of text, on a page and in print.
    Size([f64; 2]),
    /// On a page; a figure in print has one weight.
    Bold,
}

use Property::{
    Bold, Dash, Fill, FillOpacity, NoFill, NoStroke, Opacity, Size, Stroke, StrokeOpacity, Width,
};

/// Later rules win. A selector of two classes asks for both.
const RULES: [(&str, &[Property]); 31] = [
    ("paper", &[Fill("paper")]),
    ("axis", &[Stroke("line"), Width(1.0), NoFill]),
    ("grid", &[Stroke("grid"), Width(1.0)]),
    ("zero", &[Stroke("line"), Width(1.0), Dash(&[2.0, 3.0])]),
    ("tick", &[Fill("muted"), Size([11.0, 10.67])]),
    ("name", &[Fill("muted"), Size([12.0, 10.67])]),
    ("heading", &[Fill("ink"), Size([13.0, 12.0]), Bold]),
    ("key", &[Fill("ink"), Size([11.5, 10.67])]),
    ("note", &[Fill("muted"), Size([10.5, 10.0])]),
    ("inside", &[Fill("bar-ink"), Size([9.0, 9.0])]),
    ("on-dark", &[Fill("white")]),
    ("lane", &[Fill("grid"), Opacity(0.45)]),
    ("curve", &[NoFill, Width(1.6)]),
    ("level", &[NoFill, Width(1.4)]),
    ("dashed", &[Dash(&[6.0, 3.0])]),
    ("leader", &[NoFill, Width(0.8), Opacity(0.6)]),
    ("interval", &[Width(1.3)]),
    ("mean", &[Width(2.2)]),
    ("mark", &[Width(1.3)]),
    ("hollow", &[Fill("paper")]),
    ("arrow", &[NoStroke]),
    ("on-time", &[Fill("on-time")]),
    ("late-1", &[Fill("late-1")]),
    ("late-2", &[Fill("late-2")]),
    ("late-3", &[Fill("late-3")]),
    ("backlog", &[Fill("line"), Opacity(0.5)]),
    ("spare", &[Stroke("muted"), Width(0.9)]),
    ("overdue", &[Stroke("late-3"), Width(1.2)]),
    ("due", &[Fill("muted")]),
    ("missed", &[Fill("late-3")]),
    ("load", &[Fill("paper"), Opacity(0.8)]),
];

/// After the colours of policies.
const LAST: [(&str, &[Property]); 5] = [
    ("band", &[NoStroke, Opacity(0.18)]),
    ("dot", &[FillOpacity(0.35), StrokeOpacity(0.6), Width(1.0)]),
    ("hollow.dot", &[NoFill]),
    ("filled.dot", &[NoStroke]),
    ("arrow", &[NoStroke]),
];

/// All rules in their order.
fn rules() -> &'static [(String, Vec<Property>)] {
    static ALL: OnceLock<Vec<(String, Vec<Property>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let owned = |(selector, own): &(&str, &[Property])| ((*selector).to_owned(), own.to_vec());
        let mut all: Vec<_> = RULES.iter().map(owned).collect();
        for name in POLICY_INKS {
            all.push((format!("p-{name}"), vec![Stroke(name)]));
            for filled in ["filled", "band", "arrow"] {
                all.push((format!("p-{name}.{filled}"), vec![Fill(name)]));
            }
        }
        all.extend(LAST.iter().map(owned));
        all
    })
}

/// The style sheet of figures on a page: light or dark as the screen asks, light in print.
pub(crate) fn page_sheet() -> String {
    let colours = |of: fn(&Ink) -> &'static str| {
        INKS.iter().map(|ink| format!("--{}: {};", ink.name, of(ink))).collect::<Vec<_>>().join(" ")
    };
    let mut sheet = format!(
        "\n:root {{ color-scheme: light dark; {} }}\n@media screen and (prefers-color-scheme: dark) \
         {{ :root {{ {} }} }}\n@media print {{ :root {{ color-scheme: light; }} }}\n\
         svg.figure {{ font-family: system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; }}\n",
        colours(|ink| ink.light),
        colours(|ink| ink.dark)
    );
    write_rules(&mut sheet, Medium::Page, &|name| format!("var(--{name})"));
    sheet
}

/// The style sheet of a figure for print. It has colours and no variables, which drawing programs
/// do not know.
pub(crate) fn print_sheet() -> String {
    let mut sheet = "\nsvg.figure { font-family: Tinos, 'Times New Roman', Times, 'Nimbus Roman', \
                     'Liberation Serif', serif; }\n"
        .to_owned();
    write_rules(&mut sheet, Medium::Print, &|name| Ink::named(name).light.to_owned());
    sheet
}

fn write_rules(sheet: &mut String, medium: Medium, paint: &dyn Fn(&str) -> String) {
    for (selector, properties) in rules() {
        let declarations: Vec<String> = (properties.iter())
            .filter_map(|property| {
                Some(match *property {
                    Fill(ink) => format!("fill: {};", paint(ink)),
                    Stroke(ink) => format!("stroke: {};", paint(ink)),
                    NoFill => "fill: none;".into(),
                    NoStroke => "stroke: none;".into(),
                    Width(width) => format!("stroke-width: {width}; stroke-linejoin: round;"),
                    Dash(dash) => {
                        let dash: Vec<_> = dash.iter().map(f64::to_string).collect();
                        format!("stroke-dasharray: {};", dash.join(" "))
                    }
                    Opacity(share) => format!("opacity: {share};"),
                    FillOpacity(share) => format!("fill-opacity: {share};"),
                    StrokeOpacity(share) => format!("stroke-opacity: {share};"),
                    Size(sizes) => format!("font-size: {}px;", sizes[medium as usize]),
                    Bold if medium == Medium::Page => "font-weight: 600;".into(),
                    Bold => return None,
                })
            })
            .collect();
        let _ = writeln!(sheet, ".figure .{selector} {{ {} }}", declarations.join(" "));
    }
}

/// What the classes of a shape come to in print.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) fill: Option<&'static Ink>,
    pub(crate) stroke: Option<&'static Ink>,
    pub(crate) width: f64,
    pub(crate) dash: &'static [f64],
    pub(crate) fill_opacity: f64,
    pub(crate) stroke_opacity: f64,
}

/// The look of a shape with these classes, separated by spaces.
pub(crate) fn look(classes: &str) -> Look {
    let mut look = Look {
        fill: None,
        stroke: None,
        width: 1.0,
        dash: &[],
        fill_opacity: 1.0,
        stroke_opacity: 1.0,
    };
    for property in properties(classes) {
        match property {
            Fill(name) => look.fill = Some(Ink::named(name)),
            Stroke(name) => look.stroke = Some(Ink::named(name)),
            NoFill => look.fill = None,
            NoStroke => look.stroke = None,
            Width(width) => look.width = width,
            Dash(dash) => look.dash = dash,
            Opacity(share) => (look.fill_opacity, look.stroke_opacity) = (share, share),
            FillOpacity(share) => look.fill_opacity = share,
            StrokeOpacity(share) => look.stroke_opacity = share,
            Size(_) | Bold => {}
        }
    }
    look
}

/// The size of text with these classes, in CSS pixels.
pub(crate) fn text_size(classes: &str, medium: Medium) -> f64 {
    let sizes = properties(classes).filter_map(|property| match property {
        Size(sizes) => Some(sizes[medium as usize]),
        _ => None,
    });
    sizes.last().unwrap_or(12.0)
}

/// Whether text with these classes is bold on a page.
pub(crate) fn is_bold(classes: &str) -> bool {
    properties(classes).any(|property| matches!(property, Bold))
}

fn properties(classes: &str) -> impl Iterator<Item = Property> {
    let has = move |class: &str| classes.split(' ').any(|own| own == class);
    let fitting = rules().iter().filter(move |(selector, _)| selector.split('.').all(&has));
    fitting.flat_map(|(_, properties)| properties.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rules_win_and_pairs_ask_for_both() {
        let hollow = look("mark hollow p-blue");
        assert_eq!(hollow.fill, Some(Ink::named("paper")));
        assert_eq!(hollow.stroke, Some(Ink::named("blue")));
        assert_eq!(look("mark hollow p-blue dot").fill, None);
        let filled = look("mark filled p-blue dot");
        assert_eq!((filled.fill, filled.stroke), (Some(Ink::named("blue")), None));
        assert_eq!(filled.fill_opacity, 0.35);
        assert_eq!(look("p-blue").fill, None);
        assert_eq!(text_size("inside on-dark", Medium::Print), 9.0);
    }

    #[test]
    fn sheets_hold_every_rule_and_print_has_no_variables() {
        let (page, print) = (page_sheet(), print_sheet());
        for (selector, _) in rules() {
            assert!(page.contains(&format!(".{selector} {{")), "{selector}");
        }
        assert!(page.contains("var(--p") && !print.contains("var("));
        assert_eq!(Ink::named("blue").rgb(), [0.0, 114.0 / 255.0, 178.0 / 255.0]);
    }
}
