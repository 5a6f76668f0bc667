"""What exporting the rows of a query costs, beside the loops that people write.

    python -m tests.benchmarks.export FOLDER [--rows 20000000] [--rounds 3] [--connection URL]
        [--only NAME ...] [--json FILE]

FOLDER needs room for about 100 bytes a row; a memory filesystem is best. Contenders run in turn, A
B C A B C. Each writes the rows of a Parquet file, in their order, to files of 1,000,000 rows.
With ``--connection``, such as a PostgreSQL server's, the rows are those of its table ``bench``,
which must have them.

- ``jobtool``: ``transfer-worker`` alone; ``jobtool-split``: two of them under mpirun, on two
  ranges. The joblist is made beforehand. Every file is hashed, read back at its destination, and
  has a receipt.
- ``pandas``: ``pandas.read_sql`` with ``chunksize``, and ``to_parquet`` for each chunk.
- ``copy``: DuckDB's own ``COPY … TO``, one file of the same compression. It checks nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.peers.measure import Cost, measured
from tests.commands import BIN, mpirun_environment

CHUNK_ROWS = 1_000_000

_PANDAS = """
import sys, warnings
warnings.simplefilter("ignore")
import pandas
connection, query, folder, rows = sys.argv[1:]
if connection.startswith("duckdb"):
    import duckdb
    opened = duckdb.connect()
else:
    import sqlalchemy
    opened = sqlalchemy.create_engine(connection).connect().execution_options(stream_results=True)
chunks = pandas.read_sql(query, opened, chunksize=int(rows))
for number, chunk in enumerate(chunks, start=1):
    chunk.to_parquet(f"{folder}/part-{number:06}.parquet", compression="zstd")
"""

_COPY = """
import sys, duckdb
query, folder = sys.argv[1:]
duckdb.sql(f"COPY ({query}) TO '{folder}/part.parquet' (FORMAT parquet, COMPRESSION zstd)")
"""

_DATA = """
SELECT range AS id, hash(range) % 1000000 AS station,
    TIMESTAMP '2020-01-01' + INTERVAL (range) SECOND AS taken,
    (hash(range + 1) % 100000) / 100.0 AS value,
    'sensor-' || (hash(range + 2) % 5000) AS sensor,
    (hash(range + 3) % 10000)::DECIMAL(9, 2) AS price
FROM range({rows})
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connection", default="duckdb://")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        query = "SELECT * FROM bench ORDER BY id"
        if arguments.connection.startswith("duckdb"):
            query = f"SELECT * FROM '{make(folder, arguments.rows)}' ORDER BY id"
        contenders = contenders_of(folder, arguments.connection, query)
        for _ in range(arguments.rounds):
            for contender, prepare in contenders.items():
                if arguments.only and contender not in arguments.only:
                    continue
                command = prepare()
                cost, failure = measured([*map(str, command)], mpirun_environment())
                if failure:
                    print(f"{contender}: {failure}", file=sys.stderr)
                    return 1
                costs.setdefault(contender, []).append(cost)
    show(costs, arguments.rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({name: [*map(list, c)] for name, c in costs.items()}))
    return 0


def make(folder: Path, rows: int) -> Path:
    """Write the source, a Parquet file; return its path."""
    import duckdb

    path = folder / "source.parquet"
    duckdb.sql(f"COPY ({_DATA.format(rows=rows)}) TO '{path}' (FORMAT parquet)")
    return path


def contenders_of(
    folder: Path, connection: str, query: str
) -> dict[str, Callable[[], list[object]]]:
    """Return what prepares each contender's run, and returns its command."""
    out, joblist = folder / "out", folder / "joblist"

    def fresh() -> None:
        for path in (out, joblist):
            shutil.rmtree(path, ignore_errors=True)
        out.mkdir()

    def jobs(*options: object) -> None:
        fresh()
        command = [BIN / "jobtool", "export", "--connection", connection, "--query", query]
        command += ["-d", out, "-o", joblist, "--chunk-size", CHUNK_ROWS, "-v", 0, *options]
        _, failure = measured([*map(str, command)], {})
        assert not failure, failure

    def alone() -> list[object]:
        jobs()
        return [BIN / "transfer-worker", "-i", joblist, "-v", 0]

    def split() -> list[object]:
        jobs("--split-by", "id", "--splits", 2)
        worker = [BIN / "transfer-worker", "-i", joblist, "-v", 0]
        return [BIN / "mpirun", "--oversubscribe", "-n", 2, *worker]

    def pandas() -> list[object]:
        fresh()
        return [sys.executable, "-c", _PANDAS, connection, query, out, CHUNK_ROWS]

    def copy() -> list[object]:
        fresh()
        return [sys.executable, "-c", _COPY, query, out]

    found = {"jobtool": alone, "jobtool-split": split, "pandas": pandas}
    return {**found, "copy": copy} if connection.startswith("duckdb") else found


def show(costs: dict[str, list[Cost]], rows: int) -> None:
    """Print the medians, and the paired ratios of jobtool to the others."""
    print(f"{rows:,} rows, medians of {len(next(iter(costs.values())))} rounds")
    for name, found in costs.items():
        wall = statistics.median(one.wall for one in found)
        cpu = statistics.median(one.cpu for one in found)
        memory = max(one.mebibytes for one in found)
        rate = rows / wall / 1e6
        print(f"{name:14} {wall:7.2f} s  CPU {cpu:7.2f} s  {rate:5.2f} M rows/s  {memory:6.0f} MiB")
    for ours in ("jobtool", "jobtool-split"):
        for name, found in costs.items():
            if ours in costs and not name.startswith("jobtool"):
                pairs = zip(costs[ours], found, strict=True)
                ratio = statistics.median(mine.wall / theirs.wall for mine, theirs in pairs)
                print(f"{ours} ÷ {name}: {ratio:.2f}")


if __name__ == "__main__":
    sys.exit(main())
