"""100,000 files of 4 KiB to S3 and back, packed and as they are, and read there.

    python -m tests.benchmarks.packing FOLDER [--files 100000] [--bytes 4096] [--rounds 3]
        [--cases up down one zarr] [--only WORD…] [--latency MS] [--json FILE]

The files are the chunks of zarr plates, 1,000 to a plate. For each case the contenders run in turn,
A B C A B C. The table shows medians: wall time and CPU time of all commands, the making of joblists
included, the largest memory of one process, and the wall time divided by that of the case's first
contender, round by round. In one more round, or with ``--latency`` in the first, the requests are
counted by method at a proxy in front of the server (``rclone serve s3``, or versitygw). FOLDER is
best on a tmpfs.

    up    all plates from a folder to S3
    down  all plates from S3 to a folder, as files
    one   one chunk, printed
    zarr  all chunks of ten plates, read by zarr
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benchmarks.packing.contenders import Contender, Field
from tests.benchmarks.packing.data import make_plates
from tests.benchmarks.packing.requests import Counted, counted
from tests.benchmarks.peers.measure import Cost, measured
from tests.benchmarks.peers.servers import Server, serving

CASES: dict[str, Callable[[Field], list[Contender]]] = {
    "up": Field.up,
    "down": Field.down,
    "one": Field.one,
    "zarr": Field.zarr,
}
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

Requests = Mapping[str, int]


def main() -> int:
    """Run it; return 0, or 1 if a contender failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=100_000, help="rounded up to plates [100000]")
    parser.add_argument("--bytes", type=int, default=4096, help="of each file [4096]")
    parser.add_argument("--package-bytes", type=int, help="[a quarter of all]")
    parser.add_argument("--read-plates", type=int, default=10, help="that zarr reads [10]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="contenders with these words")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="of answers [0]")
    parser.add_argument("--no-count", action="store_true", help="without the round that counts")
    parser.add_argument("--server", choices=["rclone", "versitygw"], default="rclone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its server ends, too
    root = arguments.folder / "jobtool-packing"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    results: list[dict[str, object]] = []
    try:
        names = make_plates(root / "plates", arguments.files, arguments.bytes)
        with (
            serving(root / "server", arguments.server) as server,
            counted(server, arguments.latency / 1000) as behind,
        ):
            field = Field(
                data=root / "plates",
                work=root / "work",
                server=server,
                names=names,
                package_bytes=arguments.package_bytes or arguments.files * arguments.bytes // 4,
                read_plates=arguments.read_plates,
            )
            field.fill()
            for case in arguments.cases:
                results.append(_case(case, field, behind, arguments))
    finally:
        shutil.rmtree(root)
    if arguments.json is not None:
        told = {name: str(value) for name, value in vars(arguments).items()}
        arguments.json.write_text(json.dumps({"options": told, "cases": results}, indent=1) + "\n")
    return 0 if all(result["is_well"] for result in results) else 1


def _case(
    case: str, field: Field, behind: Counted, arguments: argparse.Namespace
) -> dict[str, object]:
    words = arguments.only or [""]
    contenders = [one for one in CASES[case](field) if any(word in one.name for word in words)]
    costs: dict[str, list[Cost]] = {one.name: [] for one in contenders}
    requests: dict[str, Requests] = {}
    is_delayed = arguments.latency > 0
    reached = behind.server if is_delayed else field.server
    extra = not is_delayed and not arguments.no_count
    for number in range(arguments.rounds + extra):
        is_counting = number == arguments.rounds or (is_delayed and number == 0)
        for one in [each for each in contenders if each.name in costs]:
            field.clear()
            behind.take()
            cost, error = _run(one, behind.server if is_counting else reached)
            if is_counting:
                requests[one.name] = behind.take()
            error = error or one.check()
            if error:
                print(f"{case}: {one.name} failed: {error}", file=sys.stderr, flush=True)
                del costs[one.name]
            elif number < arguments.rounds:
                costs[one.name].append(cost)
    print(_table(case, costs, requests), flush=True)
    return {
        "case": case,
        "costs": {name: [cost._asdict() for cost in found] for name, found in costs.items()},
        "requests": requests,
        "is_well": len(costs) == len(contenders),
    }


def _run(one: Contender, server: Server) -> tuple[Cost, str]:
    """Run the commands of a contender; return what they cost together."""
    total = Cost(0.0, 0.0, 0.0)
    for command in one.commands(server):
        cost, error = measured(command, {**server.environment, **_AS_ROOT})
        total = Cost(
            total.wall + cost.wall, total.cpu + cost.cpu, max(total.mebibytes, cost.mebibytes)
        )
        if error:
            return total, error
    return total, ""


def _table(case: str, costs: Mapping[str, list[Cost]], requests: Mapping[str, Requests]) -> str:
    title = f"\n{case:26} {'wall s':>8} {'CPU s':>8} {'MiB':>6} {'÷ first':>8} {'requests':>9}"
    lines = [title]
    first = next(iter(costs.values()), [])
    for name, found in costs.items():
        ratios = [cost.wall / other.wall for cost, other in zip(found, first, strict=False)]
        with contextlib.suppress(statistics.StatisticsError):
            wall, cpu, memory = (statistics.median(values) for values in zip(*found, strict=True))
            counts = requests.get(name, {})
            by_method = ", ".join(f"{how} {number:,}" for how, number in sorted(counts.items()))
            lines.append(
                f"{name:26} {wall:8.2f} {cpu:8.2f} {memory:6.0f} {statistics.median(ratios):8.3f} "
                f"{sum(counts.values()):9,}  {by_method}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
