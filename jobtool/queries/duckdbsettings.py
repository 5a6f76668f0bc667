"""DuckDB's settings: those of the URL, and what holds where it says nothing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

from jobtool.errors import UsageError
from jobtool.names import in_one_line
from jobtool.queries.dialect import Dialect
from jobtool.suggest import did_you_mean

#: The settings of a database. A query can't name variables of this program as if they were tables.
#: Measured with DuckDB 2.0: with one thread 128 MB are enough to sort 20 million rows of six
#: columns on disk; with 80 MB, or with two threads, they aren't.
DEFAULTS = {
    "memory_limit": "128MB",
    "threads": "1",
    "preserve_insertion_order": "true",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
}

#: Settings that not every version and build of DuckDB has. The bar would be in the output of the
#: command. Eight threads for input wait for files, and each keeps memory: 17 MiB in all.
_WHERE_KNOWN = {
    "timezone": "UTC",  # the extension ICU has it
    "enable_progress_bar": "false",
    "streaming_buffer_size": "1MB",
    "async_threads": "1",
}

#: DuckDB's other names for settings above.
_ALIASES = {
    "max_memory": "memory_limit",
    "worker_threads": "threads",
    "max_streaming_buffer_size": "streaming_buffer_size",
}


class Settings:
    """The settings of a connection, by names in lower case.

    ``of_database`` are those that a database is opened with; ``set_in`` sets the others.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        """Take the options of a URL, which DuckDB reads in any case."""
        given: dict[str, str] = {}
        for option, value in options.items():
            name = _ALIASES.get(option.lower(), option.lower())
            if name in given:
                raise UsageError(f"connection, duckdb://: expected {name!r} once; found it twice")
            given[name] = value
        scopes = _scopes() if given else {}
        self.has_scratch = "temp_directory" in given
        self.of_database: dict[str, Any] = dict(DEFAULTS)
        self._set_later = dict(_WHERE_KNOWN)
        self._unknown = [name for name in given if name not in scopes]
        self._given = given
        for name, value in given.items():
            is_set_later = name in _WHERE_KNOWN or scopes.get(name) == "LOCAL"
            (self._set_later if is_set_later else self.of_database)[name] = value

    def set_in(self, connection: Any) -> None:
        """Set what an open connection takes. Raises DuckDB's errors for values that are invalid."""
        import duckdb

        for name, value in self._set_later.items():
            ignored = () if name in self._given else (duckdb.Error,)
            with contextlib.suppress(*ignored):
                connection.execute(f"SET {name} = {Dialect().value(value)}")

    def misfit(self, error: Exception) -> UsageError:
        """Return the error for settings that DuckDB doesn't take."""
        said = in_one_line(str(error))
        if not self._unknown:
            return UsageError(f"connection, duckdb://: {said}")
        name = self._unknown[0]
        return UsageError(
            f"connection, duckdb://: DuckDB has no setting {name!r} here."
            f"{did_you_mean(name, _scopes())} Correct or remove it ({said})"
        )


@functools.cache
def _scopes() -> dict[str, str]:
    """Return the scopes of the settings that DuckDB has without extensions."""
    import duckdb

    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        rows = connection.execute("SELECT lower(name), scope FROM duckdb_settings()").fetchall()
    return dict(rows)
