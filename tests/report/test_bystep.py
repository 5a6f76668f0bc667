"""The table of packages by step and route."""

from __future__ import annotations

import json

import pytest

from jobtool.jobs.job import JobStatus
from jobtool.jobs.packagetask import PackageTask
from jobtool.report.bystep import StepLine, by_step
from jobtool.report.jobline import JobLine
from tests.commands import run_ok
from tests.prepare import prepare
from tests.receiving.worlds import World

DONE, TODO, ERROR = JobStatus.SUCCESS, JobStatus.TODO, JobStatus.ERROR


def line(name: str, status: JobStatus, at: str, *after: str, **more) -> JobLine:
    package, step, *rest = name.split(".")
    task = PackageTask(
        package=package, step=step, to=rest[0] if rest else None, at=(at,), after=after, **more
    )
    return JobLine(job=name, status=status, bytes_done=10, package=task)


def test_steps_are_counted_in_their_order_and_by_route():
    lines = [
        line("p.unpack.here", TODO, "here", "p.copy.here"),
        line("p.copy.here", DONE, "far", way=("far.buffer", "here.buffer"), route="sea"),
        line("q.copy.here", DONE, "far", way=("far.buffer", "here.buffer"), route="air"),
        line("r.copy.here", DONE, "far", way=("far.buffer", "here.buffer"), route="sea"),
    ]
    assert by_step(lines) == [
        StepLine(step="copy", route="air", jobs=1, done=1, bytes_done=10),
        StepLine(step="copy", route="sea", jobs=2, done=2, bytes_done=20),
        StepLine(step="unpack", route=None, jobs=1),
    ]


@pytest.mark.parametrize(
    ("copy", "relay", "expected"),
    [
        (TODO, None, (1, 1)),
        (ERROR, None, (1, 1)),
        (DONE, TODO, (1, 1)),
        (DONE, DONE, (0, 0)),
    ],
)
def test_what_waits_for_other_sites(copy, relay, expected):
    lines = [
        line("p.copy.here", copy, "far"),
        line("p.unpack.here", TODO, "here", "p.copy.here"),
        line("p.archive.here", TODO, "here", "p.unpack.here"),
    ]
    if relay is not None:
        lines.append(line("p.relay.here.2", relay, "hub", "p.copy.here"))
    found = {each.step: (each.waiting, each.elsewhere) for each in by_step(lines)}
    assert found["unpack"] == expected
    assert found["archive"] == (1, expected[1])  # at least for the unpacking here


def test_jobs_that_wait_for_each_other_or_for_none_end():
    lines = [
        line("p.unpack.here", TODO, "here", "p.archive.here"),
        line("p.archive.here", TODO, "here", "p.unpack.here", "no such job"),
    ]
    assert [(each.waiting, each.elsewhere) for each in by_step(lines)] == [(1, 0), (1, 0)]


def test_the_command_shows_steps_and_routes(tmp_path):
    world = World(tmp_path)
    world.buffer = tmp_path / "hub/buffer"
    world.package("p", {"a": 1})
    options = ("--sites", world.sites, "--site", "hub", "--to", "cologne", "--then", "archive")
    world.receive(*options, "--archive", tmp_path / "kept")
    prepare("transfer-worker", "-i", world.joblist, "-v", 0)
    text = run_ok("summarise-jobs", "-i", world.joblist, "-v", 0).lines
    assert text[0].split()[:4] == ["step", "route", "done", "bytes"]
    assert text[1].split()[:3] == ["copy", "route-2", "1/1"]
    assert text[2].split()[:2] == ["archive", "1/1"]
    found = json.loads(run_ok("summarise-jobs", "-i", world.joblist, "--json").stdout)
    (copy, archive) = found["package_steps"]
    assert (copy["step"], copy["route"], copy["done"]) == ("copy", "route-2", 1)
    assert (archive["bytes_done"], archive["error"]) == (copy["bytes_done"], 0)
    assert {job["package"]["step"] for job in found["jobs"]} == {"copy", "archive"}
    assert "route-2" in run_ok("summarise-jobs", "-i", world.joblist, "-v", 2).stdout


def test_other_joblists_have_no_such_table(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_bytes(b"x")
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "l", "-d", tmp_path / "out")
    found = json.loads(run_ok("summarise-jobs", "-i", tmp_path / "l", "--json").stdout)
    assert found["package_steps"] == []
    assert found["jobs"][0]["package"] is None
    assert "step" not in run_ok("summarise-jobs", "-i", tmp_path / "l", "-v", 0).stdout
