"""Manual pages, and what ``--version`` shows."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

import jobtool
from jobtool.cli.main import COMMANDS
from jobtool.cli.manpages import commands, pages
from tests.commands import assert_one_line_error, run, run_ok
from tests.needs import need


def test_every_command_has_a_page_that_groff_renders_without_a_warning(tmp_path: Path) -> None:
    need("groff", packages="groff-base")
    run_ok("jobtool", "man", "--folder", tmp_path)
    written = sorted((tmp_path / "man1").iterdir())
    names = {path.name for path in written}
    assert {f"jobtool-{name}.1" for name in COMMANDS} < names
    assert {"jobtool.1", "generate-joblist.1", "jobtool-catalog-compact.1"} < names
    for device in ("utf8", "ascii"):
        done = subprocess.run(
            ["groff", "-ww", "-man", f"-T{device}", *written], capture_output=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_page_has_every_option_and_the_whole_help() -> None:
    need("groff", packages="groff-base")
    found = commands()
    for name in ("jobtool-verify", "transfer-worker", "jobtool-export"):
        done = subprocess.run(
            ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=2000n"],
            input=pages()[f"{name}.1"].encode(),
            capture_output=True,
            timeout=60,
        )
        text = " ".join(done.stdout.decode().split())
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLE", "EXIT STATUS"):
            assert heading in text
        for parameter in found[name].params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert all(spelling in text for spelling in parameter.opts), parameter
        said = " ".join((found[name].help or "").split()).replace("…", "...")
        assert said in text, (said, text)


def test_a_page_is_installed_where_man_looks(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_DATA_HOME": ""}
    run_ok("jobtool", "man", "--install", env=env)
    page = tmp_path / ".local/share/man/man1/jobtool-verify.1"
    assert page.read_text() == run_ok("jobtool", "man", "verify").stdout
    assert run_ok("jobtool", "man", "catalog", "compact").stdout.startswith(".TH")


def test_a_command_that_is_unknown_is_an_error_of_use(tmp_path: Path) -> None:
    assert_one_line_error(run("jobtool", "man", "verfy"), 2, "'verfy'", "Did you mean 'verify'?")
    done = run("jobtool", "man", "verify", "--folder", tmp_path / "man")
    assert_one_line_error(done, 2, "verify")
    assert not (tmp_path / "man").exists()


@pytest.mark.parametrize("name", [*COMMANDS, "impala-transfer"])
def test_every_command_shows_the_versions_of_what_matters(name: str) -> None:
    command = (name,) if name == "impala-transfer" else ("jobtool", name)
    assert_shows_versions(run_ok(*command, "--version").lines)


def assert_shows_versions(lines: list[str]) -> None:
    assert lines[:2] == [f"jobtool {jobtool.__version__}", f"Python {platform.python_version()}"]
    assert [line for line in lines if re.match("boto|obstore|pyarrow", line)] == [
        f"{name} {version(name)}" for name in ("boto3", "botocore", "obstore", "pyarrow")
    ]
    assert lines[-1] == platform.platform()


def test_the_version_of_mpi_is_what_mpirun_says(tmp_path: Path) -> None:
    mpirun = tmp_path / "mpirun"
    mpirun.write_text('#!/bin/sh\necho "mpirun (Some MPI) 1.2 $1"\n')
    mpirun.chmod(0o755)
    for path, said in (
        (f"{tmp_path}:/usr/bin:/bin", "mpirun (Some MPI) 1.2 --version"),
        ("/nowhere", "mpirun not found"),
    ):
        lines = run_ok("jobtool", "--version", env={"PATH": path}).lines
        assert_shows_versions(lines)
        assert lines[-2] == said
    mpirun.write_text("#!/bin/sh\nexit 1\n")
    assert "doesn't tell" in run_ok("jobtool", "--version", env={"PATH": str(tmp_path)}).lines[-2]
