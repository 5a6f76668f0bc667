"""``jobtool set``: [transfer] of joblist.toml changes, and nothing else in the file."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobtool.errors import JoblistError, UsageError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings
from jobtool.jobs.transferedit import checked, edit_transfer
from tests.commands import assert_one_line_error, run, run_ok

TEXT = """\
# ours: don't touch
format = 1   # the form
id = "x"
destination = '/data/copies'


[transfer]   # tuned by ann
  threads = 8        # two per core
  # bandwidth = "1GB/s"
[layout]
pattern = "{item}"
"""


@pytest.fixture
def joblist(tmp_path: Path) -> JobList:
    made = JobList.create(str(tmp_path / "jobs"), Settings(destination="/data/copies"))
    (tmp_path / "jobs" / "joblist.toml").write_text(TEXT)
    return JobList.open(made.path)


def text_of(joblist: JobList) -> str:
    return Path(joblist.path, "joblist.toml").read_bytes().decode()


def test_comments_order_and_spaces_stay(joblist):
    before, after = edit_transfer(joblist, checked({"threads": "4", "bandwidth": "50MB/s"}))
    assert (before.threads, after.threads, after.bandwidth) == (8, 4, "50MB/s")
    lines = TEXT.splitlines()
    found = text_of(joblist).splitlines()
    changed = [line for line in found if line not in lines]
    assert [line.split("#")[0].strip() for line in changed] == [
        "threads = 4",
        'bandwidth = "50MB/s"',
    ]
    assert [line for line in lines if line not in found] == ["  threads = 8        # two per core"]
    assert "# two per core" in changed[0]


def test_a_key_goes_back_to_its_default_and_the_same_value_writes_nothing(joblist):
    edit_transfer(joblist, checked({"threads": None}))
    assert "threads" not in tomllib.loads(text_of(joblist))["transfer"]
    before = os.stat(Path(joblist.path, "joblist.toml")).st_ino
    edit_transfer(joblist, checked({"threads": ""}))
    assert os.stat(Path(joblist.path, "joblist.toml")).st_ino == before


def test_a_dry_run_writes_nothing_and_returns_what_would_be(joblist):
    _, after = edit_transfer(joblist, checked({"threads": 2}), dry_run=True)
    assert (after.threads, text_of(joblist)) == (2, TEXT)


def test_the_table_is_added_where_there_is_none_and_line_ends_stay(joblist):
    path = Path(joblist.path, "joblist.toml")
    path.write_bytes(b'format = 1\r\nid = "x"\r\ndestination = "/d"\r\n')
    edit_transfer(joblist, checked({"bandwidth": "1GB/s", "preserve": "mode,times"}))
    assert path.read_bytes().startswith(b'format = 1\r\nid = "x"\r\ndestination = "/d"\r\n')
    assert tomllib.loads(text_of(joblist))["transfer"] == {
        "bandwidth": "1GB/s",
        "preserve": ["mode", "times"],
    }


def test_a_link_stays_one_and_the_mode_stays(joblist, tmp_path):
    path = Path(joblist.path, "joblist.toml")
    os.rename(path, tmp_path / "real.toml")
    (tmp_path / "real.toml").chmod(0o600)
    path.symlink_to(tmp_path / "real.toml")
    edit_transfer(joblist, checked({"threads": 2}))
    assert path.is_symlink()
    assert "threads = 2" in (tmp_path / "real.toml").read_text()
    assert (tmp_path / "real.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(joblist):
    os.chown(Path(joblist.path, "joblist.toml"), 12345, -1)
    with pytest.raises(JoblistError, match="expected a file of yours; found one of user 12345"):
        edit_transfer(joblist, checked({"threads": 2}))
    assert text_of(joblist) == TEXT


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"bandwith": "1GB/s"}, "there is no 'bandwith'. Did you mean 'bandwidth'"),
        ({"threads": "0"}, "threads: expected a whole number of at least 1; found '0'"),
        ({"threads": "many"}, "threads: expected a whole number; found 'many'"),
        ({"bandwidth": "fast"}, "bandwidth: expected a rate such as"),
        (
            {"part_size_bytes": "1kB"},
            "part_size_bytes: expected a whole number of at least 5242880",
        ),
        ({"part_size_bytes": "big"}, "part_size_bytes: expected a size such as"),
        ({"links": "folow"}, "Did you mean 'follow'"),
        ({"max_requests_per_second": "-1"}, "max_requests_per_second: expected a number of at"),
    ],
)
def test_an_invalid_value_is_named(given, expected):
    with pytest.raises(UsageError) as raised:
        checked(given)
    assert expected in str(raised.value)


_EDIT = """
import sys
from jobtool.jobs.joblist import JobList
from jobtool.jobs.transferedit import edit_transfer
joblist = JobList.open(sys.argv[1])
for number in range(1, 21):
    edit_transfer(joblist, {sys.argv[2]: number})
"""


def test_no_change_of_two_people_is_lost(joblist):
    keys = ("threads", "max_attempts")
    people = [subprocess.Popen([sys.executable, "-c", _EDIT, joblist.path, key]) for key in keys]
    assert [person.wait() for person in people] == [0, 0]
    assert JobList.open(joblist.path).settings.transfer.threads == 20
    assert JobList.open(joblist.path).settings.transfer.max_attempts == 20
    assert "# two per core" in text_of(joblist)


def test_the_command_prints_what_applies_and_refuses_what_it_cant_mean(joblist):
    found = json.loads(run_ok("jobtool", "set", joblist.path, "--json").stdout)
    options = {each["key"]: each for each in found["options"]}
    assert options["threads"]["value"] == 8
    assert options["bandwidth"]["live"]
    assert options["max_attempts"]["is_default"]
    assert text_of(joblist) == TEXT
    for words, expected in (
        (("threads",), "expected KEY=VALUE"),
        (("threads=1", "threads=2"), "expected one value of threads"),
        (("priority=3",), "expected --job NAME or --match GLOB with it"),
        (("--match", "*", "threads=3"), "there is no 'threads'"),
    ):
        assert_one_line_error(run("jobtool", "set", joblist.path, *words), 2, expected)
