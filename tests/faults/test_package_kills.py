"""Workers that are killed at each step of a package's way: a rerun finishes, and sends no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.md5 import md5_of
from tests.commands import finish, start_module
from tests.faults.victim import PACKAGE_STEPS
from tests.packages.chains import KIB, ROUTES, Chain, make_source

KILLED = -9

#: The MD5 of each tar, whatever was killed while it was made.
SAME: dict[str, str] = {}

#: A step and at which times of it a worker is killed: of the copy, of the relay, or further on.
KILLS = [
    ("before a leg's file is synced", 1),
    ("after a leg is taken", 1),
    ("after a leg is taken", 2),
    ("after the way is planned", 1),
    ("after the way is planned", 2),
    ("before the digests of members are written", 1),
    ("after the index was made", 1),
    ("after the next leg's job", 1),
    ("before the index is renamed", 1),
    ("before the manifest is renamed", 1),
    ("before the manifest is renamed", 2),
    ("after the manifest is renamed", 1),
    ("after the manifest is renamed", 2),
]
GENERAL = [
    ("in the middle of a file's bytes", 1),
    ("after a file is published", 1),
    ("after a file is published", 4),
    ("after a receipt is on record", 1),
    ("before the table", 1),
    ("after the table", 2),
    ("before the journal is removed", 1),
    ("after the new job file is renamed", 6),
]


@pytest.fixture
def chain(folder: Path) -> Chain:
    made = Chain(folder)
    make_source(made.source, 2, (0, 300, 60 * KIB))
    made.routes = [dict(ROUTES[1])]
    made.write_sites()
    made.generate(to=("bonn",))
    return made


def victim(chain: Chain, step: str, nth: int) -> int:
    """Run a worker that is killed at a step; return how it ended."""
    return finish(start_module("tests.faults.victim", step, str(nth), str(chain.joblist))).exit_code


def buffers(chain: Chain) -> dict[Path, tuple[int, int]]:
    """What lies in the buffers, each file with its number and time, which sending changes."""
    found = {}
    for place in ("hub.buffer", "bonn.buffer", "bonn.archive"):
        for path in Path(chain.places[place]).iterdir():
            if not path.name.startswith("."):
                found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def check(chain: Chain, before: dict[Path, tuple[int, int]], *, kills: int) -> None:
    """Finish the rest; what had arrived stays as it is, and all is as without a kill."""
    chain.work_ok()
    chain.assert_done(unpacked_at=("bonn",))
    after = buffers(chain)
    assert before.items() <= after.items(), "what had arrived was sent again"
    for place in ("hub.buffer", "bonn.buffer", "bonn.archive"):
        folder = Path(chain.places[place])
        chain.assert_packages(folder)
        names = sorted(path.name for path in folder.iterdir())
        assert names == [f"list-0001.tar{end}" for end in ("", ".index.parquet", ".manifest.json")]
        for name in names:
            md5 = md5_of((folder / name).read_bytes())
            assert SAME.setdefault(name, md5) == md5
    attempts = sum(chain.job(name).attempts for name in chain.jobs)
    assert len(chain.jobs) <= attempts <= len(chain.jobs) + kills
    scratch = chain.joblist / "packages"
    names = {path.name for path in scratch.iterdir() if path.name != ".lock"}
    assert names == {
        "legs",
        "list-0001.items.jsonl",
        "list-0001.manifest.json",
        "list-0001.members.jsonl",
        "making.json",
        "reserved",
    }


@pytest.mark.parametrize(
    ("step", "nth"),
    [*KILLS, *(pytest.param(*kill, marks=pytest.mark.wide) for kill in GENERAL)],
)
def test_after_a_kill_a_rerun_finishes(chain: Chain, step: str, nth: int) -> None:
    assert victim(chain, step, nth) in (KILLED, 137)
    check(chain, buffers(chain), kills=1)


def test_each_step_of_packages_is_killed_at() -> None:
    assert {step for step, _ in KILLS} == set(PACKAGE_STEPS)


@pytest.mark.parametrize(
    ("steps", "fewest"), [(KILLS[::-1], 5), (GENERAL, len(GENERAL))], ids=["own", "general"]
)
def test_a_worker_is_killed_again_and_again(
    chain: Chain, steps: list[tuple[str, int]], fewest: int
) -> None:
    kills = 0
    arrived: dict[Path, tuple[int, int]] = {}
    for step, nth in steps:
        kills += victim(chain, step, nth) in (KILLED, 137)
        before, arrived = arrived, buffers(chain)
        assert before.items() <= arrived.items(), "what had arrived was sent again"
    assert kills >= fewest
    check(chain, arrived, kills=kills)
