"""``jobtool retry --step``: jobs of packages by their step, chains by the step that failed."""

from __future__ import annotations

import pytest

import jobtool
from tests.commands import assert_one_line_error, run, run_ok
from tests.prepare import prepare
from tests.receiving.worlds import World
from tests.trees import statuses, write


@pytest.fixture
def failed(tmp_path) -> World:
    """Two packages at a hub: one is unpacked, the other can't be; neither can be archived."""
    world = World(tmp_path)
    world.package("good", {"a": 2})
    tar = world.package("bad", {"b": 2})
    options = (*world.at_cologne, "--then", "unpack,archive")
    assert world.receive(*options).exit_code == 0
    data = tar.read_bytes()
    tar.write_bytes(data.replace(b"bad b 1 bad", b"bad b 1 BAD"))
    (tmp_path / "cologne/arc").rmdir()
    write(tmp_path / "cologne/arc", b"a file in the way")
    run("transfer-worker", "-i", world.joblist, "-v", 0)
    return world


def test_only_jobs_at_the_step_are_put_back(failed):
    joblist = failed.joblist
    before = statuses(joblist)
    assert before["bad.unpack.cologne"] == "error"
    assert before["good.unpack.cologne"] == "success"
    done = run_ok("jobtool", "retry", joblist, "--step", "unpack")
    assert done.lines == ["💡 bad.unpack.cologne: error -> todo", "💡 Put back 1 job(s)."]
    assert statuses(joblist) == {**before, "bad.unpack.cologne": "todo"}
    assert (
        run_ok("jobtool", "retry", joblist, "--step", "verify,copy").lines[-1].endswith("0 job(s).")
    )


def test_it_goes_with_the_other_selections(failed):
    joblist = failed.joblist
    done = run_ok("jobtool", "retry", joblist, "--step", "unpack", "--match", "no such text")
    assert done.lines == ["💡 Put back 0 job(s)."]
    job = "good.unpack.cologne"
    done = run("jobtool", "retry", joblist, "--step", "archive", "--job", job)
    assert_one_line_error(done, 2, job, "at another step")
    assert statuses(joblist)[job] == "success"
    run_ok("jobtool", "retry", joblist, "--step", "archive,unpack", "--job", job)
    assert statuses(joblist)[job] == "todo"


def test_a_typo_gets_a_suggestion(failed):
    before = statuses(failed.joblist)
    done = run("jobtool", "retry", failed.joblist, "--step", "unpak")
    assert_one_line_error(done, 2, "found 'unpak'. Did you mean 'unpack'?")
    with pytest.raises(jobtool.UsageError, match="several words"):
        jobtool.retry_jobs(failed.joblist, steps="unpack")
    assert statuses(failed.joblist) == before


def test_a_copy_is_never_put_back_by_an_unpack(tmp_path):
    world = World(tmp_path)
    world.buffer = tmp_path / "hub/buffer"
    world.package("p", {"a": 1})
    options = ("--sites", world.sites, "--site", "hub", "--to", "cologne", "--then", "unpack")
    world.receive(*options, "--unpack", tmp_path / "u")
    (tmp_path / "u").write_bytes(b"in the way")
    run("transfer-worker", "-i", world.joblist, "-v", 0)
    copy = (world.joblist / "p.copy.cologne.txt").read_bytes()
    assert copy.startswith(b"success")
    run("jobtool", "retry", world.joblist, "--step", "unpack", "-v", 0)
    (tmp_path / "u").unlink()
    prepare("transfer-worker", "-i", world.joblist, "-v", 0)
    assert set(statuses(world.joblist).values()) == {"success"}
    assert (world.joblist / "p.copy.cologne.txt").read_bytes() == copy


def test_a_chain_counts_by_the_step_at_which_it_failed(tmp_path):
    write(tmp_path / "in/a/1")
    (tmp_path / "in/a/link").symlink_to("/nowhere")
    write(tmp_path / "in/b/1")
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "l", "-d", tmp_path / "out")
    run("transfer-worker", "-i", tmp_path / "l", "-v", 0)
    assert statuses(tmp_path / "l")["a"] == "error"
    done = run("jobtool", "retry", tmp_path / "l", "--step", "unpack")
    assert_one_line_error(done, 2, "expected one of copy")
    run_ok("jobtool", "retry", tmp_path / "l", "--step", "copy")
    assert statuses(tmp_path / "l") == {"a": "todo", "b": "success"}
