"""What joblist.toml says to programs counts as a command, but for numbers and switches."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.errors import JoblistError
from jobtool.jobs.joblist import JobList


def opened(folder: Path, tables: str) -> JobList:
    """A joblist that a group may write to."""
    folder.chmod(0o755)
    toml = folder / "joblist.toml"
    toml.write_text(f"format = 1\n{tables}\n")
    toml.chmod(0o664)
    return JobList.open(str(folder))


@pytest.mark.parametrize(
    "tables",
    [
        '[ssh]\noptions = ["ProxyCommand=touch x"]',
        "[ssh]\noptions = []",
        '[hadoop]\nconf_dir = "/x"',
        '[hadoop.options]\n"yarn.app.mapreduce.am.command-opts" = "x"',
        '[methods.bbcp]\nprogram = "/x"',
        '[methods.distcp]\noptions = ["-x"]',
        "[methods.other.table]\nnumber = 1",
    ],
)
def test_words_for_programs_have_to_be_trusted(tmp_path: Path, tables: str) -> None:
    joblist = opened(tmp_path, tables)
    with pytest.raises(JoblistError, match="a program's options"):
        joblist.require_trusted()


def test_numbers_and_switches_need_no_trust(tmp_path: Path) -> None:
    tables = (
        "[ssh]\ncompression = true\n[methods.bbcp]\nstreams = 8\n[methods.distcp]\nappend = true\n"
        '[transfer]\nmethods = ["rsync", "stream"]\n'
    )
    assert opened(tmp_path, tables).require_trusted() is None
