"""``jobtool sbatch`` prints a script and nothing else; wrong usage is one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobtool.batch.pbs import pbs_script
from jobtool.batch.request import BatchRequest
from jobtool.batch.slurm import slurm_script
from tests.commands import BIN, assert_one_line_error, environment, run, run_ok
from tests.prepare import prepare
from tests.trees import make_items


@pytest.fixture
def joblist(folder: Path) -> Path:
    make_items(folder / "in", 1)
    where = ("-o", folder / "list", "-d", folder / "out", "-l", "tree", "-v", 0)
    prepare("generate-joblist", "-i", folder / "in", *where)
    return folder / "list"


def test_every_option_comes_out_in_the_script(joblist: Path) -> None:
    options = ("--array", "0-7", "--ntasks", 4, "--cpus-per-task", 2, "--time", "12:00:00")
    more = ("--grace", 300, "--job-name", "name", "--partition", "long", "--account", "proj")
    worker = ("--", "--threads", 3)
    values = {
        "joblist": str(joblist),
        "array": "0-7",
        "tasks": 4,
        "cpus_per_task": 2,
        "time": "12:00:00",
        "grace_seconds": 300,
        "job_name": "name",
        "partition": "long",
        "account": "proj",
        "worker_options": ("--threads", "3"),
    }
    shown = run_ok("jobtool", "sbatch", joblist, *options, *more, *worker).stdout
    assert shown == slurm_script(BatchRequest(**values))
    choices = ("--launcher", "srun", "--no-requeue")
    shown = run_ok("jobtool", "sbatch", joblist, *options, *more, *choices, *worker).stdout
    assert shown == slurm_script(BatchRequest(**values, launcher="srun", requeue=False))
    pbs = ("--scheduler", "pbs", "--requeue")
    shown = run_ok("jobtool", "sbatch", joblist, *options, *more, *pbs, *worker).stdout
    assert shown == pbs_script(BatchRequest(**values, scheduler="pbs"))


def test_a_relative_joblist_becomes_absolute_and_keeps_its_links(joblist: Path) -> None:
    (joblist.parent / "link").symlink_to(joblist.name)
    shown = run_ok("jobtool", "sbatch", "link", cwd=joblist.parent).stdout
    assert shown == slurm_script(BatchRequest(joblist=str(joblist.parent / "link")))


def test_a_name_that_is_no_utf_8_comes_out_byte_by_byte(joblist: Path) -> None:
    path = os.fsencode(joblist.parent) + b"/no-\xff-utf8"
    os.rename(joblist, path)
    command = [os.fsencode(BIN / "jobtool"), b"sbatch", path]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == os.fsencode(slurm_script(BatchRequest(joblist=os.fsdecode(path))))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--array", "some"), "--array"),
        (("--array", "15-0"), "Did you mean 0-15?"),
        (("--array", "0-15%0"), "--array"),
        (("--ntasks", 0), "--ntasks"),
        (("--time", "12h"), "HH:MM:SS"),
        (("--time", "00:01:00"), "--grace 120"),
        (("--scheduler", "lsf"), "--scheduler"),
        (("--scheduler", "pbs"), "--time"),
        (("--scheduler", "pbs", "--time", "01:00:00", "--launcher", "srun"), "--launcher srun"),
        (("another-list",), "another-list"),
        (("--nodes", 3), "--nodes"),
        (("--", "--time-limit", "3h"), "--time-limit"),
        (("--", "-iother-list"), "-iother-list"),
        (("--", "--treads", 4), "--treads"),
        (("--", "--threads", "many"), "expected a whole number; found 'many'"),
        (("--", "other-list"), "other-list"),
        (("--", "--help"), "found --help"),
        (("--", "--order", "bigest"), "order: expected one of largest, smallest"),
        (("--", "--log-file", "w-%n.log"), "found %n"),
    ],
)
def test_wrong_usage_is_one_line(joblist: Path, options: tuple[object, ...], expected: str) -> None:
    done = run("jobtool", "sbatch", joblist, *options)
    assert_one_line_error(done, 2, expected)
    assert done.stdout == ""


def test_what_is_no_joblist_is_refused(tmp_path: Path) -> None:
    assert_one_line_error(run("jobtool", "sbatch", tmp_path), 2, "isn't a joblist", str(tmp_path))
    missing = run("jobtool", "sbatch", tmp_path / "none")
    assert_one_line_error(missing, 2, str(tmp_path / "none"))


def test_help_ends_with_an_example_and_the_exit_codes() -> None:
    text = run_ok("jobtool", "sbatch", "--help").stdout
    assert text.index("Options:") < text.index("Example:") < text.index("Exit codes:")
