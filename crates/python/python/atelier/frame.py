"""Tables that any data frame library takes as they are."""

from collections.abc import Sequence
from typing import Any, Protocol


class Table(Protocol):
    """A table in Arrow's memory layout."""

    @property
    def column_names(self) -> Sequence[str]: ...
    @property
    def num_rows(self) -> int: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...


class Frame:
    """Columns in Arrow's memory layout, which pandas and polars take without copying them.

    Whatever speaks the Arrow PyCapsule interface reads it: ``polars.DataFrame(frame)``, ``pyarrow.table(frame)``,
    ``pandas.DataFrame.from_arrow(frame)``, DuckDB and others.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._table.__arrow_c_schema__()

    def arrow(self) -> Any:
        """As a ``pyarrow.Table``."""
        import pyarrow

        return pyarrow.table(self)

    def pandas(self) -> Any:
        """As a ``pandas.DataFrame``."""
        return self.arrow().to_pandas()

    def polars(self) -> Any:
        """As a ``polars.DataFrame``."""
        import polars

        return polars.DataFrame(self)

    def __repr__(self) -> str:
        return repr(self._table)
