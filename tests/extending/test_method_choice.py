"""Which methods would move a job's files: the command, doctor and Python say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jobtool
from tests.commands import assert_one_line_error, run
from tests.extending.test_method_plugins import Site, line_of
from tests.trees import events, statuses


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.generate()
    return made


def chosen(site: Site, *options: object) -> dict[str, dict[str, object]]:
    """What ``jobtool methods --json`` says, by method."""
    done = run("jobtool", "methods", site.joblist, "--json", *options, env=site.env)
    assert (done.exit_code, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.lines]
    assert {one["event"] for one in told} == {"method-choice"}
    return {one["method"]: one for one in told}


def test_the_order_is_told_with_what_is_used_and_why_others_are_not(site: Site) -> None:
    site.settle_for(methods=["absent", "cp", "stream"])
    told = chosen(site)
    assert [*told][:3] == ["absent", "cp", "stream"]
    assert [told[name]["place"] for name in ("absent", "cp", "stream")] == [1, 2, 3]
    assert told["absent"]["why_not"] == "the robot is on holiday"
    assert [name for name, one in told.items() if one["is_used"]] == ["cp", "stream"]
    assert told["liar"]["place"] is None
    assert told["server-side"]["why_not"] == "no service has both source and destination"
    assert (told["cp"]["source"], told["cp"]["destination"]) == (
        str(site.source / "item000"),
        str(site.out / "item000"),
    )
    shown = run("jobtool", "methods", site.joblist, env=site.env)
    assert "not available: the robot is on holiday" in shown.stdout
    assert statuses(site.joblist) == {"item000": "todo"}
    assert not site.out.exists()


def test_a_method_that_cannot_be_loaded_is_told_without_failing_the_others(site: Site) -> None:
    told = chosen(site, "--methods", "cp")
    assert "a_module_that_is_gone" in str(told["gone"]["why_not"])
    assert told["cp"]["is_used"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--methods", "cpp"), "'cpp'"),
        (("--methods", "auto,stream"), "expected 'auto' alone"),
        (("--methods", "stream,cp"), "expected 'stream' as the last"),
        (("--job", "nope"), "found nope"),
    ],
)
def test_wrong_questions_get_one_line(site: Site, options: tuple[str, ...], said: str) -> None:
    done = run("jobtool", "methods", site.joblist, *options, env=site.env)
    assert_one_line_error(done, 2, said)


def test_doctor_tells_the_methods_and_fails_without_any(site: Site) -> None:
    told = run("jobtool", "doctor", site.joblist, env=site.env)
    assert told.exit_code == 0, told
    assert "used: stream" in told.stdout
    site.settle_for(methods=["absent"])
    told = run("jobtool", "doctor", site.joblist, env=site.env)
    assert told.exit_code == 4
    assert "the robot is on holiday" in " ".join(told.stdout.split())


def test_auto_leaves_a_job_to_jobtools_own_methods_where_no_other_fits(site: Site) -> None:
    jobfile = site.joblist / "item000.txt"
    assert site.work("auto").exit_code == 0
    site.assert_all_proven()
    assert set(site.methods().values()) == {"stream"}
    assert events(jobfile, "method") == []


def test_python_says_the_same(site: Site) -> None:
    (explained,) = jobtool.explain_methods(str(site.joblist), methods=["auto"])
    assert explained.job == "item000"
    assert [one.name for one in explained.methods if one.is_used] == ["stream"]
    with pytest.raises(jobtool.UsageError, match="found nope"):
        jobtool.explain_methods(str(site.joblist), job="nope")


def test_the_log_of_a_job_names_no_file_that_is_not_there(site: Site) -> None:
    assert site.work("cp,stream").exit_code == 0
    assert " log=" not in line_of(site.joblist / "item000.txt", "cp")
