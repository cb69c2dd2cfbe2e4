//! Data frames: columns that pandas and polars take without copying them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use scheduling::Row;

use crate::refused;
use crate::sources::{counts, floats, texts};

/// A table of these columns, which are equally long.
pub(crate) fn table(columns: Vec<(&str, ArrayRef)>) -> PyResult<PyTable> {
    let field = |(name, column): &(&str, ArrayRef)| {
        Field::new(*name, column.data_type().clone(), column.is_nullable())
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(refused)?;
    PyTable::try_new(vec![batch], schema)
}

/// The table as an `atelier.Frame`.
pub(crate) fn framed(py: Python<'_>, table: PyTable) -> PyResult<Bound<'_, PyAny>> {
    py.import("atelier.frame")?.getattr("Frame")?.call1((table,))
}

/// The columns of a CSV file of rows.
pub(crate) fn of_rows(rows: &[Row], models: &[String]) -> PyResult<PyTable> {
    let number = |value: fn(&Row) -> f64| floats(rows.iter().map(value));
    let mut columns = vec![
        ("request", counts(rows.iter().map(|row| row.request as u32))),
        ("server", counts(rows.iter().map(|row| row.server as u32))),
        ("steps", counts(rows.iter().map(|row| row.steps))),
        ("arrival", number(|row| row.arrival)),
        ("start", number(|row| row.start)),
        ("finish", number(|row| row.finish)),
        ("due", number(|row| row.due)),
        ("tardiness", number(|row| row.tardiness)),
        ("penalty", number(|row| row.penalty)),
        ("quality", number(|row| row.quality)),
        ("reward", number(|row| row.reward)),
    ];
    let beyond: Vec<_> = rows.iter().filter_map(|row| row.beyond).collect();
    if beyond.len() == rows.len() {
        if !models.is_empty() {
            columns
                .push(("model", texts(beyond.iter().map(|beyond| &models[beyond.model.index()]))));
        }
        columns.push(("size", floats(beyond.iter().map(|beyond| beyond.size))));
        columns.push(("load", floats(beyond.iter().map(|beyond| beyond.load))));
        columns.push(("attempts", counts(beyond.iter().map(|beyond| beyond.attempts))));
    }
    table(columns)
}
