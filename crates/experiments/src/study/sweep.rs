//! What a panel varies: fields of its scenario, one or two of them.

use std::collections::BTreeMap;
use std::fmt;

use scheduling::Seconds;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use simulation::{EpisodeSource, Scenario, ScenarioError, Settings};
use toml::{Spanned, Table, Value};

/// One or two quantities that are varied, in the order of the file: the first along the axis of the figure,
/// the second from panel to panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Along the axis.
    pub(crate) along: Axis,
    /// From panel to panel.
    pub(crate) across: Option<Axis>,
}

/// A quantity with its values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) quantity: Quantity,
    /// One or more, all different.
    pub(crate) values: Vec<Value>,
}

/// What can be varied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// `mean_interval_seconds`: of whatever arrivals there are.
    MeanInterval,
    /// `strong_servers`: servers of the first of two groups, while all servers together stay as many as they are.
    StrongServers,
    /// `resident`: models that each server can have loaded at once.
    Resident,
    /// Any field of the scenario, by its path: `due.slack_seconds`, `cluster.servers.0.count`.
    Field(String),
}

impl Quantity {
    fn of(key: String) -> Self {
        match key.as_str() {
            "mean_interval_seconds" => Self::MeanInterval,
            "strong_servers" => Self::StrongServers,
            "resident" => Self::Resident,
            _ => Self::Field(key),
        }
    }

    /// As it stands in the file.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::MeanInterval => "mean_interval_seconds",
            Self::StrongServers => "strong_servers",
            Self::Resident => "resident",
            Self::Field(path) => path,
        }
    }

    /// What the axis of a figure says.
    pub(crate) fn axis(&self, scenario: &Scenario) -> String {
        match self {
            Self::MeanInterval => "mean inter-arrival time (s)".into(),
            Self::StrongServers => format!("strong servers of {}", scenario.servers()),
            Self::Resident => "models that a server has room for".into(),
            Self::Field(path) => path.clone(),
        }
    }
}

impl Axis {
    /// Where each value stands on the axis, and what the axis says there: numbers where they are, anything else
    /// one after the other, from 1 on.
    pub(crate) fn places(&self) -> Vec<(f64, String)> {
        let numbers: Option<Vec<f64>> = self.values.iter().map(number).collect();
        let places = (self.values.iter().enumerate()).map(|(index, value)| {
            let place = numbers.as_ref().map_or((index + 1) as f64, |numbers| numbers[index]);
            (place, label(index, value))
        });
        places.collect()
    }
}

/// A value as short text; one that is long is named by its place.
fn label(index: usize, value: &Value) -> String {
    const LONGEST: usize = 40;
    match (number(value), value) {
        (Some(number), _) => number.to_string(),
        (None, Value::String(text)) if text.len() <= LONGEST => text.clone(),
        (None, value) => {
            let text = value.to_string();
            let short = text.len() <= LONGEST && !text.contains('\n');
            if short { text } else { format!("no. {}", index + 1) }
        }
    }
}

/// The value, if it is a number.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|value| value as f64))
}

/// The scenario with other values of these fields, which are named by their paths as in a study: `due.slack_seconds`,
/// `cluster.servers.0.count`.
///
/// # Errors
/// What is wrong with them, and what is allowed, in one line that begins with the fields and values.
pub fn with_fields_set(
    scenario: &Scenario,
    set: &BTreeMap<String, Value>,
) -> Result<Scenario, String> {
    let fields = fields(set);
    with(scenario, &fields.iter().map(|(field, value)| (field, *value)).collect::<Vec<_>>())
}

/// Fields by their paths, as quantities.
pub(crate) fn fields(set: &BTreeMap<String, Value>) -> Vec<(Quantity, &Value)> {
    set.iter().map(|(path, value)| (Quantity::Field(path.clone()), value)).collect()
}

/// Fields with the values that they are given.
pub(crate) type Assignments<'a> = Vec<(&'a Quantity, &'a Value)>;

/// The scenario with these values, all of them given at once: one alone may not be allowed.
///
/// # Errors
/// What is wrong with them, and what is allowed, in one line that begins with the fields and values.
pub(crate) fn with(
    scenario: &Scenario,
    assignments: &[(&Quantity, &Value)],
) -> Result<Scenario, String> {
    if assignments.is_empty() {
        return Ok(scenario.clone());
    }
    let told = |problem: String| {
        let given = assignments.iter().map(|(quantity, value)| {
            format!("{} = {}", quantity.key(), scheduling::message::excerpt(&value.to_string()))
        });
        format!("{}: {problem}", given.collect::<Vec<_>>().join(", "))
    };
    let mut scenario = scenario.clone();
    let mut fields = Vec::new();
    for &(quantity, value) in assignments {
        match quantity {
            Quantity::Field(path) => fields.push((path.as_str(), value)),
            _ => scenario = with_quantity(&scenario, quantity, value).map_err(told)?,
        }
    }
    with_fields(&scenario, &fields).map_err(told)
}

fn with_quantity(
    scenario: &Scenario,
    quantity: &Quantity,
    value: &Value,
) -> Result<Scenario, String> {
    let text = |e: ScenarioError| e.to_string();
    let count = || {
        let count = value.as_integer().and_then(|value| usize::try_from(value).ok());
        count.ok_or_else(|| "allowed is a whole number, 0 or more".to_owned())
    };
    match quantity {
        Quantity::Field(path) => with_fields(scenario, &[(path, value)]),
        Quantity::MeanInterval => {
            let seconds = number(value).ok_or("allowed is a number of seconds")?;
            let interval = Seconds::new(seconds).map_err(|e| e.to_string())?;
            scenario.with_mean_interval(interval).map_err(text)
        }
        Quantity::StrongServers => {
            let (strong, all) = (count()?, scenario.servers());
            let groups = scenario.settings().cluster.servers.len();
            if groups != 2 || strong > all {
                return Err(format!(
                    "{strong} of {all} servers in {groups} groups: allowed is 0 to all of them, in two \
                     groups of which the first is the strong one"
                ));
            }
            let swept = scenario.with(|settings| {
                settings.cluster.servers[0].count = strong;
                settings.cluster.servers[1].count = all - strong;
            });
            swept.map_err(text)
        }
        Quantity::Resident => {
            let resident = count()?;
            if scenario.settings().models.is_none() {
                return Err("allowed is a scenario with a table [models]".into());
            }
            let swept = scenario.with(|settings| {
                if let Some(models) = &mut settings.models {
                    models.resident = resident;
                }
            });
            swept.map_err(text)
        }
    }
}

/// Sets the fields in the scenario's TOML and reads it again, so that what no scenario may have is refused here
/// as in a file.
fn with_fields(scenario: &Scenario, fields: &[(&str, &Value)]) -> Result<Scenario, String> {
    if fields.is_empty() {
        return Ok(scenario.clone());
    }
    let document = toml::from_str(&scenario.to_toml()).expect("what a scenario writes is TOML");
    let mut document = Value::Table(document);
    let mut new = Vec::new();
    for (path, value) in fields {
        new.extend(set(&mut document, path, value)?);
    }
    let settings = document.try_into::<Settings>().map_err(|error| {
        let problem = super::one_line(error.message());
        // What was not there before may stand beside what excludes it.
        format!("{problem}{}", new.concat())
    })?;
    Scenario::new(settings).map_err(|error| super::one_line(&error.to_string()))
}

/// Sets one field. Tables on the way to it that are not there are made; what stood beside the first of them is
/// said, for an error.
fn set(document: &mut Value, path: &str, value: &Value) -> Result<Option<String>, String> {
    const DEEPEST: usize = 16;
    if path.split('.').nth(DEEPEST).is_some() {
        return Err(format!("allowed is a path of {DEEPEST} names or fewer"));
    }
    let (mut place, mut way, mut new) = (document, String::new(), None);
    for key in path.split('.') {
        place = match place {
            Value::Table(table) => {
                if !table.contains_key(key) && new.is_none() {
                    let keys: Vec<_> = table.keys().map(String::as_str).collect();
                    let holder = if way.is_empty() { "the scenario" } else { &way };
                    new = Some(format!(" ({holder} has {})", keys.join(", ")));
                }
                table.entry(key.to_owned()).or_insert_with(|| Value::Table(Table::new()))
            }
            other => entry(other, &way, key)?,
        };
        way += if way.is_empty() { "" } else { "." };
        way += key;
    }
    *place = value.clone();
    Ok(new)
}

/// The entry of a list at an index.
fn entry<'a>(value: &'a mut Value, way: &str, key: &str) -> Result<&'a mut Value, String> {
    match value {
        Value::Array(entries) => {
            let count = entries.len();
            let found = key.parse::<usize>().ok().and_then(|index| entries.get_mut(index));
            found.ok_or_else(|| match count {
                0 => format!("{way} has no entries"),
                _ => format!("{way} has no entry {key}: allowed is 0 to {}", count - 1),
            })
        }
        other => Err(format!("{way} is {other} and has no field {key}")),
    }
}

impl<'de> Deserialize<'de> for Sweep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Axes)
    }
}

/// Reads a table in the order of the file, which is not that of the map it comes in.
struct Axes;

impl<'de> Visitor<'de> for Axes {
    type Value = Sweep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one or two fields with lists of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sweep, A::Error> {
        let mut axes = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let values: Vec<Value> = map.next_value()?;
            let (place, key) = (key.span().start, key.into_inner());
            if values.is_empty() {
                let problem = format!("{key} has no values: allowed is a list of one or more");
                return Err(A::Error::custom(problem));
            }
            let same = |a: &Value, b: &Value| match (number(a), number(b)) {
                (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
                _ => a == b,
            };
            let earlier = |n: usize| values[..n].iter().any(|value| same(value, &values[n]));
            if let Some(twice) = (1..values.len()).find(|&n| earlier(n)) {
                let value = &values[twice];
                return Err(A::Error::custom(format!(
                    "{key} has {value} twice: values must differ"
                )));
            }
            axes.push((place, Axis { quantity: Quantity::of(key), values }));
        }
        axes.sort_by_key(|(place, _)| *place);
        let count = axes.len();
        let mut axes = axes.into_iter().map(|(_, axis)| axis);
        match (axes.next(), axes.next(), axes.next()) {
            (Some(along), across, None) => Ok(Sweep { along, across }),
            _ => Err(A::Error::custom(format!("{count} fields: allowed is one, or two"))),
        }
    }
}
