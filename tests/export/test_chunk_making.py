"""Any rows, sizes of chunks, kills, torn logs and changes: the chunks hold the rows at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.export import making
from jobtool.export.chunk import ChunkPlan, RowsChangedError
from jobtool.export.chunklog import ChunkLog, ChunkRecord, ClearedRecord, EndRecord, RestartRecord
from jobtool.export.formats.by_name import format_of
from jobtool.export.making import ChunkMaker
from jobtool.queries.dialect import Dialect
from jobtool.stop import Stop
from tests.export.worlds import _read

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


@dataclass(slots=True)
class Rows:
    """A database with one result, which it gives in batches of any sizes."""

    rows: Sequence[tuple[int, str | None]]
    sizes: Sequence[int]
    schema: pa.Schema = SCHEMA
    dialect: Dialect = field(default_factory=Dialect)

    def describe(self, query: str) -> pa.Schema:
        return self.schema

    def ask(self, query: str) -> pa.Table:
        return pa.Table.from_batches(list(self), schema=self.schema)

    def stream(self, query: str, *, rows: int) -> Rows:
        return self

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        start = number = 0
        while start < len(self.rows):
            size = self.sizes[number % len(self.sizes)]
            columns = zip(*self.rows[start : start + size], strict=True) if size else ([], [])
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(values, field.type)
                    for values, field in zip(columns, SCHEMA, strict=True)
                ],
                schema=SCHEMA,
            )
            start += size
            number += 1

    def snapshot(self) -> str | None:
        return None

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


class Killed(Exception):  # noqa: N818 - it isn't an error
    """The worker is killed here."""


@dataclass(slots=True)
class Attempt:
    """What happens in an attempt: its rows, and after how many events a kill comes, if any.

    ``torn`` is how many bytes the last line of the log then lacks, ``lost`` how many of the last
    receipts aren't on disk.
    """

    rows: Sequence[tuple[int, str | None]]
    sizes: Sequence[int]
    kill: int | None
    torn: int
    lost: int


class World:
    """A worker's part, played by the rules of ``jobtool.export.chunklog``."""

    def __init__(self, folder: Path, kind: str, rows: int | None, size: int | None) -> None:
        self.folder = folder
        self.log_path = folder / "chunks" / "rows.jsonl"
        self.kind = format_of(kind)
        self.plan = ChunkPlan(
            rows=rows,
            size_bytes=size,
            fetch_rows=10,
            name=lambda number: f"part-{number:06d}.{kind}",
            has_file_without_rows=True,
            extremes_of="id",
        )
        self.arrived: dict[str, bytes] = {}
        self.receipts: list[tuple[str, int, int]] = []
        self.events = 0

    def run(self, attempt: Attempt) -> bool:
        """Make an attempt; return whether it came to its end."""
        self.events = 0
        before = len(self.receipts)
        try:
            for _ in range(2):
                try:
                    self._export(attempt)
                except RowsChangedError:
                    self._append(ChunkLog(str(self.log_path)), RestartRecord(), attempt)
                else:
                    return True
            raise AssertionError("the rows of one attempt have changed")
        except Killed:
            del self.receipts[max(before, len(self.receipts) - attempt.lost) :]
            return False

    def _event(self, attempt: Attempt) -> None:
        if self.events == attempt.kill:
            raise Killed
        self.events += 1

    def _append(self, log: ChunkLog, line: object, attempt: Attempt) -> None:
        self._event(attempt)
        size = os.path.getsize(self.log_path) if self.log_path.exists() else 0
        log.append(line)  # type: ignore[arg-type]
        if self.events == attempt.kill:  # it is the line that is torn
            data = self.log_path.read_bytes()
            self.log_path.write_bytes(data[: max(size, len(data) - attempt.torn)])
            raise Killed

    def _export(self, attempt: Attempt) -> None:
        log = ChunkLog(str(self.log_path))
        if log.stale:
            self.receipts.clear()
            for name in sorted(log.stale):
                self._event(attempt)
                self.arrived.pop(name, None)
            self._append(log, ClearedRecord(), attempt)
        known = {
            number: chunk
            for number, chunk in log.chunks.items()
            if (chunk.name, chunk.size, chunk.mtime_ns) in self.receipts
        }
        if log.end is not None and log.end.chunks == len(known):
            return
        maker = ChunkMaker(
            lambda: Rows(attempt.rows, attempt.sizes),
            lambda source: "",
            self.plan,
            self.kind,
            folder=str(self.folder),
            arrived=known,
            room=2,
            stop=Stop(),
            require_held=lambda: None,
        )
        maker.start()
        try:
            end = self._send(maker, log, known, attempt)
        finally:
            maker.end()
            for path in self.folder.glob("part-*"):
                path.unlink()
        for number, chunk in log.chunks.items():
            if number > end.chunks:
                self._event(attempt)
                self.arrived.pop(chunk.name, None)
        self._append(log, end, attempt)

    def _send(
        self, maker: ChunkMaker, log: ChunkLog, known: dict[int, ChunkRecord], attempt: Attempt
    ) -> EndRecord:
        while True:
            made = maker.next(60)
            assert made is not None
            if isinstance(made, EndRecord):
                return made
            if made.number in known:
                continue
            assert len(list(self.folder.glob("part-*"))) <= 2
            self._append(log, made, attempt)
            self._event(attempt)
            path = self.folder / made.name
            self.arrived[made.name] = path.read_bytes()
            self._event(attempt)
            self.receipts.append((made.name, made.size, made.mtime_ns))
            path.unlink()
            maker.free()

    def rows(self) -> list[tuple[int, str | None]]:
        """What has arrived."""
        return [
            (row["id"], row["text"])
            for name, data in sorted(self.arrived.items())
            for row in _read(name, data).to_pylist()
        ]


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "", "a", "b,\n"])), max_size=40)


@st.composite
def attempts(draw: st.DrawFn) -> list[Attempt]:
    """Attempts, most of which see the rows of the one before."""
    rows = draw(ROWS)
    found = []
    for _ in range(draw(st.integers(1, 5))):
        change = draw(st.sampled_from(["none", "none", "all", "cut", "more", "one"]))
        at = draw(st.integers(0, len(rows)))
        if change == "all":
            rows = draw(ROWS)
        elif change == "cut":
            rows = rows[:at]
        elif change == "more":
            rows = rows + draw(ROWS)
        elif change == "one":
            rows = [*rows[:at], (9, "new"), *rows[at + 1 :]]
        found.append(
            Attempt(
                rows=rows,
                sizes=draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)),
                kill=draw(st.integers(0, 60)),
                torn=draw(st.integers(0, 300)),
                lost=draw(st.integers(0, 3)),
            )
        )
    last = found[-1]
    found.append(Attempt(rows=last.rows, sizes=[1, 7], kill=None, torn=0, lost=0))
    return found


@given(
    kind=st.sampled_from(["parquet", "csv"]),
    rows=st.one_of(st.none(), st.integers(1, 12)),
    size=st.integers(1, 2000),
    several=attempts(),
)
def test_whatever_happens_the_chunks_hold_the_rows_at_the_end(
    kind: str, rows: int | None, size: int, several: list[Attempt]
) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="jobtool-chunks-") as folder,
    ):
        patch.setattr(making, "BLOCK_ROWS", 5)
        world = World(Path(folder), kind, rows, None if rows else size)
        done_with: Sequence[object] | None = None
        for attempt in several:
            is_done = world.run(attempt)
            if is_done and done_with is None:
                done_with = attempt.rows
            elif done_with is None:
                continue
            if is_done:  # with all chunks there, no query runs again
                assert world.rows() == list(done_with)
        log = ChunkLog(str(world.log_path))
        assert log.end is not None
        assert sorted(log.chunks) == [*range(1, log.end.chunks + 1)]
        assert {chunk.name for chunk in log.chunks.values()} == world.arrived.keys()
        assert log.end.rows == len(world.rows()) == sum(each.rows for each in log.chunks.values())


def test_a_long_text_is_not_recorded_as_an_extreme_and_its_chunk_stays_known(
    tmp_path: Path,
) -> None:
    log = ChunkLog(str(tmp_path / "chunks" / "rows.jsonl"))
    named = {"number": 1, "name": "part-000001.csv", "rows": 1, "digest": "d", "size": 1}
    log.append(ChunkRecord(**named, mtime_ns=1, least="short", greatest="x" * 30_000_000))
    found = ChunkLog(log.path).chunks[1]
    assert (found.least, found.greatest) == ("short", None)
    assert log.chunks == ChunkLog(log.path).chunks
