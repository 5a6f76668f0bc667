"""How fast jobtool is beside other programs, on the same data in the same run.

    python -m tests.benchmarks.peers FOLDER [--cases NAME…] [--rounds N] [--json FILE]

For each case the contenders run in turn, A B C A B C, and all must bring the same bytes. The table
shows medians: wall time, CPU time of the client and its processes, CPU time of the server, the
largest memory of one process, and jobtool's wall time divided by the peer's, round by round.
``generate-joblist`` isn't counted. The S3 server runs on the same cores, so no client is faster
than the server's CPU time divided by the number of cores. FOLDER is best on a tmpfs, to measure
programs and not a disk.

What the peers verify: s5cmd nothing, cp nothing, rsync and fpsync nothing without ``--checksum``,
``aws`` what the server checks of each part, rclone sizes and, where both sides have them, digests.
jobtool proves each file by MD5 and keeps a receipt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.peers.cases import CASES, Case, make_data
from tests.benchmarks.peers.contenders import Contender, contenders_of
from tests.benchmarks.peers.measure import Cost, measured
from tests.benchmarks.peers.servers import Server, delayed, serving


def main() -> int:
    """Run it; return 0, or 1 if a contender failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="of each case [5]")
    parser.add_argument("--ranks", type=int, default=1, help="of jobtool, under mpirun [1]")
    parser.add_argument("--threads", type=int, help="of jobtool, at most [its default]")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the data [1.0]")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="MS", help="of each answer of the server [0]"
    )
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="beside jobtool [all]")
    parser.add_argument("--server", choices=["rclone", "versitygw"], default="rclone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    arguments = parser.parse_args()
    root = arguments.folder / "jobtool-peers"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    results, is_well = [], True
    with contextlib.closing(_cases(root, arguments)) as cases:
        for case, contenders in cases:
            costs = compete(contenders, arguments.rounds)
            print(table(case, costs, arguments.scale), flush=True)
            is_well = is_well and all(costs.values())
            results.append({"case": case.name, "costs": _plain(costs)})
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    shutil.rmtree(root)
    return 0 if is_well else 1


def _cases(root: Path, arguments: argparse.Namespace) -> Iterator[tuple[Case, list[Contender]]]:
    """Yield each case, with its data made and its server running, and who takes part."""
    with (
        serving(root / "server", arguments.server) as server,
        _behind(server, arguments.latency) as reached,
    ):
        for name in arguments.cases:
            case = CASES[name]
            data = root / case.data
            if not data.exists():
                make_data(case.data, data, arguments.scale)
            found = contenders_of(
                case,
                data,
                root / "work",
                reached,
                ranks=arguments.ranks,
                threads=arguments.threads,
            )
            wanted = {"jobtool", *(arguments.peers or (one.name for one in found))}
            yield case, [one for one in found if one.name in wanted]


@contextlib.contextmanager
def _behind(server: Server, milliseconds: float) -> Iterator[Server]:
    if not milliseconds:
        yield server
        return
    with delayed(server, milliseconds / 1000) as slower:
        yield slower


def compete(contenders: list[Contender], rounds: int) -> dict[str, list[Cost]]:
    """Run the contenders in turn; return what each round cost, nothing for one that failed."""
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            if contender.name not in costs:
                continue
            command, environment = contender.prepare()
            before = contender.server_seconds()
            cost, error = measured(command, environment)
            cost = cost._replace(server=contender.server_seconds() - before)
            error = error or contender.check()
            if error:
                print(f"{contender.name} failed: {error}", file=sys.stderr, flush=True)
                costs[contender.name].clear()
                break
            costs[contender.name].append(cost)
    return costs


def table(case: Case, costs: dict[str, list[Cost]], scale: float) -> str:
    """Return a table of the medians."""
    part = "" if scale == 1 else f" (× {scale:g})"
    lines = [f"\n{case.name}: {case.title}{part}"]
    titles = f"{'wall s':>8} {'CPU s':>8} {'server':>8} {'MiB':>6} {'jobtool ÷':>10}"
    lines.append(f"{'':12} {titles}")
    ours = costs["jobtool"]
    for name, found in costs.items():
        if not found:
            lines.append(f"{name:12} failed")
            continue
        ratios = [one.wall / other.wall for one, other in zip(ours, found, strict=False)]
        ratio = f"{statistics.median(ratios):10.2f}" if ratios and name != "jobtool" else ""
        lines.append(
            f"{name:12} {_median(found, 'wall'):8.2f} {_median(found, 'cpu'):8.2f} "
            f"{_median(found, 'server'):8.2f} {_median(found, 'mebibytes'):6.0f} {ratio}".rstrip()
        )
    return "\n".join(lines)


def _median(costs: list[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)


def _plain(costs: dict[str, list[Cost]]) -> dict[str, list[dict[str, float]]]:
    return {name: [cost._asdict() for cost in found] for name, found in costs.items()}


if __name__ == "__main__":
    raise SystemExit(main())
