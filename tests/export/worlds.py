"""An export of a table that tests can change; what must hold after a kill, and at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.md5 import md5_of
from tests.commands import run_ok
from tests.trees import contents, statuses

_TEMPORARY = ".jobtool-"
LAST = ("_SUCCESS", "_manifest.json")

Row = tuple[int, str | None]


def rows_of(count: int, start: int = 0) -> list[Row]:
    """Rows whose second column has every kind of text."""
    texts = (None, "", "a", 'a "quoted", text\n', "ü ✓", "x" * 200)
    return [(number, texts[number % len(texts)]) for number in range(start, start + count)]


@dataclass(slots=True)
class Export:
    """An export from a Parquet file, read by DuckDB, to ``out``.

    ``files`` returns what is at the destination, by other means than jobtool's.
    """

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    destination: str = ""
    query: str = ""

    def __post_init__(self) -> None:
        self.destination = self.destination or str(self.out)
        self.query = self.query or f"SELECT * FROM '{self.table}' ORDER BY id"

    @property
    def table(self) -> Path:
        return self.folder / "table.parquet"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def joblist(self) -> Path:
        return self.folder / "list"

    @property
    def staging(self) -> Path:
        return self.joblist / "staging"

    def write(self, rows: Sequence[Row], kind: Any = None) -> None:
        """Make the table have these rows."""
        columns = {"id": [row[0] for row in rows], "text": [row[1] for row in rows]}
        schema = pa.schema([("id", kind or pa.int64()), ("text", pa.string())])
        part = self.table.with_name("new")
        pq.write_table(pa.table(columns, schema=schema), part)
        part.rename(self.table)

    def generate(self, *options: object) -> None:
        """Make the joblist."""
        command = ("jobtool", "export", "--connection", "duckdb://", "--query", self.query)
        paths = ("-d", self.destination, "-o", self.joblist)
        run_ok(*command, *paths, *options, env=self.env)

    def work(self, *options: object) -> None:
        """Have one worker do what is left."""
        run_ok("transfer-worker", "-i", self.joblist, *options, env=self.env)

    def files(self) -> dict[str, bytes]:
        """What is at the destination."""
        return contents(self.out) if self.out.exists() else {}

    def visible(self) -> dict[str, bytes]:
        """The files that a reader sees."""
        return {name: data for name, data in self.files().items() if _TEMPORARY not in name}

    def parts(self) -> list[str]:
        """The names of the chunks that a reader sees."""
        return sorted(self.visible().keys() - set(LAST))

    def read(self) -> pa.Table:
        """The rows of all chunks, in the order of their names."""
        return pa.concat_tables(
            [_read(name, data) for name, data in sorted(self.visible().items()) if name not in LAST]
        )

    def wanted(self) -> pa.Table:
        """The rows of the query now, as DuckDB gives them."""
        import duckdb

        with duckdb.connect() as connection:
            return connection.sql(self.query).to_arrow_table()

    def receipts(self) -> dict[str, Receipt]:
        """The last receipt of each file, by its name."""
        joblist = JobList.open(str(self.joblist))
        return {
            receipt.dst_path.rpartition("/")[2]: receipt
            for job_id in joblist.job_ids()
            for receipt in joblist.receipts_of(job_id)
        }

    def times_made(self) -> dict[str, int]:
        """How often each chunk was made, by its name."""
        found: dict[str, int] = {}
        for path in self.joblist.glob("chunks/*.jsonl"):
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue  # torn
                if record["type"] == "chunk":
                    found[record["name"]] = found.get(record["name"], 0) + 1
        return found

    def identities(self) -> dict[str, tuple[int, int]]:
        """What changes when a file is written again."""
        found = {}
        for name in self.visible():
            stat = os.stat(self.out / name)
            found[name] = (stat.st_ino, stat.st_mtime_ns)
        return found

    def manifest(self) -> dict[str, Any]:
        """The manifest."""
        found: dict[str, Any] = json.loads(self.visible()["_manifest.json"])
        return found

    def assert_honest(self) -> None:
        """Check what must hold at any moment: ``_SUCCESS`` says the truth, receipts have files."""
        visible = self.visible()
        assert {name for name in self.receipts() if name not in LAST} <= visible.keys()
        if "_SUCCESS" in visible:
            self.assert_manifest()
            assert self.read().to_pylist() == self.wanted().to_pylist()

    def assert_manifest(self) -> None:
        """The manifest names the chunks that are there, with their rows and MD5s."""
        visible, manifest = self.visible(), self.manifest()
        assert [each["file"] for each in manifest["files"]] == self.parts()
        for each in manifest["files"]:
            data = visible[each["file"]]
            assert (each["size"], each["md5"]) == (len(data), md5_of(data))
            assert each["rows"] == _read(each["file"], data).num_rows
        assert manifest["rows"] == sum(each["rows"] for each in manifest["files"])

    def assert_perfect(self) -> None:
        """Check what must hold at the end."""
        assert set(statuses(self.joblist).values()) == {"success"}
        found = self.read()
        assert found.to_pylist() == self.wanted().to_pylist()
        if all(name.endswith(".parquet") for name in self.parts()):
            assert found.schema.types == self.wanted().schema.types
        self.assert_manifest()
        assert self.files().keys() == {*self.parts(), *LAST}
        assert self.files().keys() == self.receipts().keys()
        assert not self.staging.exists()
        run_ok("jobtool", "verify", "-i", self.joblist, "--deep", env=self.env)


def _read(name: str, data: bytes) -> pa.Table:
    if name.endswith(".csv"):
        types = {"id": pa.int64(), "text": pa.string()}
        options = pc.ConvertOptions(
            column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        parse = pc.ParseOptions(newlines_in_values=True)
        return pc.read_csv(pa.BufferReader(data), convert_options=options, parse_options=parse)
    return pq.read_table(pa.BufferReader(data))


class Kills:
    """What may not happen through kills: that a chunk which is proven is made or sent again."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._proven: dict[str, tuple[object, ...]] = {}

    def check(self) -> None:
        """Check after a kill, or at the end."""
        export = self._export
        export.assert_honest()
        identities, times, receipts = export.identities(), export.times_made(), export.receipts()
        proven = {
            name: (identities.get(name), times.get(name), receipt.attempt)
            for name, receipt in receipts.items()
            if name not in LAST
        }
        assert self._proven.items() <= proven.items()
        self._proven = proven
