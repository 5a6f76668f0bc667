"""What doctor reports of versions, MPI and the scheduler."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobtool.doctor.claims import View
from jobtool.doctor.environment import surrounding_results
from jobtool.jobs.filesystem import Filesystem
from jobtool.worker.environment import Environment
from tests.commands import environment
from tests.doctor.examined import make_joblist

VIEW = View(host="node1", rank=0, filesystem=Filesystem("ext4", "/"))


def told(environ: dict[str, str], *versions: str) -> dict[str, tuple[str, str]]:
    """The verdict and the words of each check."""
    found = surrounding_results(environ, Environment(), [VIEW], list(versions or ("jobtool 1",)))
    return {finding.check: (finding.verdict, finding.found) for finding in found}


@pytest.mark.parametrize(
    ("environ", "scheduler"),
    [
        ({}, "none"),
        ({"SLURM_JOB_ID": "4711"}, "Slurm, job 4711"),
        ({"PBS_JOBID": "1.server"}, "PBS, job 1.server"),
        ({"LSB_JOBID": "5"}, "LSF, job 5"),
        ({"SGE_ROOT": "/sge", "JOB_ID": "6"}, "SGE, job 6"),
        ({"JOB_ID": "of something else"}, "none"),
    ],
    ids=str,
)
def test_schedulers_are_known_by_their_variables(environ: dict[str, str], scheduler: str) -> None:
    assert told(environ)["scheduler"][1].startswith(scheduler)
    assert ("time left" in told(environ)) == (scheduler != "none")


@pytest.mark.parametrize(
    ("seconds", "verdict", "words"),
    [(7810, "pass", "2 h 10 min"), (1500, "pass", "25 min"), (300, "warn", "5 min")],
)
def test_slurm_tells_how_much_time_is_left(seconds: int, verdict: str, words: str) -> None:
    end = str(round(time.time()) + seconds)
    found = told({"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": end})["time left"]
    assert found == (verdict, f"{words} (by SLURM_JOB_END_TIME)")


def test_time_that_is_over_or_not_told(tmp_path: Path) -> None:
    over = told({"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": "1000"})
    assert over["time left"][0] == "warn"
    assert over["time left"][1].startswith("SLURM_JOB_END_TIME is ignored: ")
    assert "found 1000, which is in the past" in over["time left"][1]
    assert told({"PBS_JOBID": "1"})["time left"][1].startswith("unknown, since PBS")


def test_ranks_of_different_versions_are_a_warning() -> None:
    assert told({}, "jobtool 1", "jobtool 1")["versions"] == ("pass", "jobtool 1")
    verdict, words = told({}, "jobtool 1", "jobtool 2", "jobtool 1")["versions"]
    assert (verdict, words) == ("warn", "ranks differ: jobtool 1, jobtool 2")


def test_mpi_is_imported_only_under_mpirun(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    code = (
        "import sys\n"
        "from jobtool.cli.doctor import cli\n"
        "try:\n"
        "    cli([sys.argv[1], '--json'])\n"
        "finally:\n"
        "    print('mpi4py' in sys.modules, 'boto3' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(joblist)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "False False"), done
