"""Settings in joblist.toml apply to a worker made in Python, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtool.errors import JoblistError, UsageError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings, TransferSettings
from jobtool.methods.method import OWN_METHODS
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.transfer.concurrency import most_small_files
from jobtool.transfer.methodchoice import method_choices
from jobtool.worker.environment import detect
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions, resolve_options
from tests.commands import environment
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import make_items, status_of, write


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """One job of two files."""
    make_items(tmp_path / "in", 1)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    return tmp_path / "list"


def add(joblist: Path, text: str) -> None:
    toml = joblist / "joblist.toml"
    toml.write_text(toml.read_text() + "\n" + text)


def work(joblist: Path, **options: object) -> int:
    place = detect(environment())
    return Worker(JobList.open(str(joblist)), place, WorkerOptions(**options)).run()


def test_if_exists_of_the_joblist_is_heard(tmp_path: Path, joblist: Path) -> None:
    theirs = write(tmp_path / "out" / "item000" / "0.bin", b"of somebody else")
    add(joblist, '[transfer]\nif_exists = "error"')
    assert work(joblist) == 1
    assert theirs.read_bytes() == b"of somebody else"
    assert status_of(joblist / "item000.txt") == "error"


def test_options_given_go_before_the_joblist(tmp_path: Path, joblist: Path) -> None:
    write(tmp_path / "out" / "item000" / "0.bin", b"of somebody else")
    add(joblist, '[transfer]\nif_exists = "error"')
    assert work(joblist, if_exists="overwrite") == 0


def test_links_of_the_joblist_are_heard(tmp_path: Path, joblist: Path) -> None:
    (tmp_path / "in" / "item000" / "link").symlink_to("0.bin")
    add(joblist, '[transfer]\nlinks = "keep"')
    assert work(joblist) == 0
    assert os.readlink(tmp_path / "out" / "item000" / "link") == "0.bin"


def test_verify_of_the_joblist_is_heard(tmp_path: Path, joblist: Path) -> None:
    settings = TransferSettings(verify="read-back", part_size_bytes=2**23, patience_seconds=0.0)
    resolved = resolve_options(WorkerOptions(threads=3), settings)
    assert resolved.policies.verify == "read-back"
    assert (resolved.threads, resolved.part_bytes, resolved.patience_seconds) == (3, 2**23, 0.0)
    assert resolved.max_attempts == 3


def test_more_small_files_at_a_time_are_for_those_who_name_no_number() -> None:
    none, named = TransferSettings(), TransferSettings(threads=16)
    assert resolve_options(WorkerOptions(), none).small_files == most_small_files()
    assert resolve_options(WorkerOptions(threads=16), none).small_files is None
    assert resolve_options(WorkerOptions(), named).small_files is None


def test_max_attempts_of_the_joblist_are_heard(
    tmp_path: Path, rclone_s3, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_items(tmp_path / "in", 1)
    url = f"s3://{rclone_s3.new_bucket()}"
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", url, "-l", "tree")
    prepare("generate-joblist", *paths)
    add(tmp_path / "list", "[transfer]\nmax_attempts = 1")
    with gate_before(rclone_s3.endpoint_url, allowed=1000, corrupt="0.bin") as gate:
        for name, value in rclone_s3.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint_url)
        assert work(tmp_path / "list") == 1
    text = (tmp_path / "list" / "item000.txt").read_text()
    assert "\nattempts: 1\n" in text  # though the error may pass
    assert "\nrequires_intervention: true\n" in text


@pytest.fixture
def commanding(tmp_path: Path, joblist: Path) -> Path:
    """A joblist that others may write, and that names a command."""
    add(joblist, f'[credentials]\nprovider = "process"\ncommand = "touch {tmp_path}/ran"')
    (joblist / "joblist.toml").chmod(0o666)
    return joblist


def test_a_command_that_others_could_have_written_is_refused(
    tmp_path: Path, commanding: Path
) -> None:
    with pytest.raises(JoblistError, match="names a command to run"):
        work(commanding)
    assert not (tmp_path / "ran").exists()
    assert status_of(commanding / "item000.txt") == "todo"


def test_a_command_is_taken_by_who_trusts_it(commanding: Path) -> None:
    joblist = JobList.open(str(commanding), trust=True)
    assert Worker(joblist, detect(environment()), WorkerOptions()).run() == 0


def test_auto_stands_for_jobtools_own_methods_where_files_are_compressed() -> None:
    auto = resolve_options(WorkerOptions(methods=["auto"]), TransferSettings())
    assert len(auto.methods) > len(OWN_METHODS)
    of_joblist = TransferSettings(methods=("auto",), compression="gzip")
    assert resolve_options(WorkerOptions(), of_joblist).methods == OWN_METHODS
    off = resolve_options(WorkerOptions(compression="none"), of_joblist)
    assert off.methods == auto.methods
    source = MemoryStore(Memory(), "memory://a")
    choices = method_choices(["auto"], Settings(transfer=of_joblist), source, source)
    assert [one.name for one in choices if one.place] == [*OWN_METHODS]
    with pytest.raises(UsageError, match="Leave out rsync"):
        resolve_options(WorkerOptions(methods=["rsync", "stream"]), of_joblist)
