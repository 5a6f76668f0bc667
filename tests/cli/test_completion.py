"""Shells complete commands, options, choices, joblists and jobs."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobtool.cli.completion import PROGRAMS, SHELLS, code_of
from tests.commands import BIN, ROOT, assert_one_line_error, environment, run, run_ok
from tests.needs import need


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a joblist, a joblist deeper down, and something else."""
    for joblist in ("runs", "more/deep"):
        (tmp_path / joblist).mkdir(parents=True)
        (tmp_path / joblist / "joblist.toml").touch()
        for job in ("A1", "A2", "B1", "x$(touch harm)"):
            (tmp_path / joblist / f"{job}.txt").touch()
    (tmp_path / "other").mkdir()
    return tmp_path


@functools.cache
def bash_code() -> str:
    """What ``eval "$(jobtool completion bash)"`` evaluates; made once."""
    return run_ok("jobtool", "completion", "bash").stdout


def by_bash(folder: Path, line: str) -> list[str]:
    """Complete a line as bash does; return what it would offer."""
    words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
    function = f"_{words[0].replace('-', '_')}_completion"
    script = f"""
        {bash_code()}
        complete -p {words[0]} > /dev/null
        compopt() {{ echo "shell:$2"; }}
        COMP_WORDS=({shlex.join(words)})
        COMP_CWORD={len(words) - 1}
        {function} {words[0]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-ec", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment({"PATH": f"{BIN}:{os.environ['PATH']}"}),
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return [each for each in done.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("jobtool ver", ["verify"]),
        ("jobtool catalog ", ["compact", "rebuild"]),
        ("jobtool verify --dee", ["--deep"]),
        ("jobtool sbatch --scheduler ", ["slurm", "pbs"]),
        ("jobtool verify ", ["runs"]),
        ("jobtool verify more/", ["more/deep"]),
        ("jobtool verify mo", ["shell:dirnames"]),
        ("jobtool verify nowhere/", []),
        ("jobtool show runs ", ["A1", "A2", "B1"]),
        ("jobtool show more/deep A", ["A1", "A2"]),
        ("jobtool retry runs --job A", ["A1", "A2"]),
        ("jobtool retry --job ", []),
        ("jobtool generate --layout pl", ["plates"]),
        ("jobtool generate --layout ./", ["shell:default"]),
        ("jobtool bogus x", []),
        ("jobtool sbatch --scheduler bogus --arr", ["--array"]),
        ("generate-joblist -o ", ["runs"]),
        ("transfer-worker -i r", ["runs"]),
        ("transfer-worker --metrics-textfile ", ["shell:dirnames"]),
        ("summarise-jobs ", ["runs"]),
        ("impala-transfer --dry", ["--dry-run"]),
    ],
)
def test_bash_offers_what_fits(folder: Path, line: str, offered: list[str]) -> None:
    assert by_bash(folder, line) == offered
    assert not (folder / "harm").exists()


def test_fish_offers_the_same(folder: Path) -> None:
    need("fish", packages="fish")
    home = folder / "home"
    env = environment({"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"})
    env.pop("XDG_CONFIG_HOME", None)
    run_ok("jobtool", "completion", "fish", "--install", env=env)
    done = subprocess.run(
        ["fish", "-c", 'complete -C "jobtool show runs "; complete -C "transfer-worker r"'],
        capture_output=True,
        text=True,
        cwd=folder,
        env=env,
        timeout=60,
    )
    assert [one for one in done.stdout.split() if one] == ["A1", "A2", "B1", "runs"], done


def test_every_program_is_completed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(PROGRAMS) == set(project["scripts"])


@pytest.mark.parametrize("shell", SHELLS)
def test_it_is_installed_for_a_user(shell: str, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "SHELL": f"/bin/{shell}"}
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        env[name] = ""
    for _ in range(2):  # again is no error
        run_ok("jobtool", "completion", "--install", env=env)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == len(PROGRAMS)
    for path in written:
        program = path.name.removeprefix("_").removesuffix(".fish")
        assert path.read_text() == code_of(shell, program)


def test_a_shell_that_is_unknown_is_an_error_of_use(tmp_path: Path) -> None:
    done = run("jobtool", "completion", env={"SHELL": "/bin/tcsh"})
    assert_one_line_error(done, 2, "bash, zsh, fish", "'tcsh'")
    (tmp_path / "file").touch()
    env = {"HOME": str(tmp_path / "file"), "XDG_DATA_HOME": ""}
    done = run("jobtool", "completion", "bash", "--install", env=env)
    assert_one_line_error(done, 2, str(tmp_path / "file"), "Not a directory")


@pytest.mark.parametrize("line", ["jobtool ", "jobtool show runs ", "transfer-worker --m"])
def test_nothing_heavy_is_imported(folder: Path, line: str) -> None:
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    program = words[0]
    module = {"jobtool": "main", "transfer-worker": "transfer"}[program]
    script = (
        "import sys, atexit\n"
        "heavy = {'boto3', 'botocore', 'obstore', 'pyarrow', 'rich', 'mpi4py', 'click.testing'}\n"
        "atexit.register(lambda: print('HEAVY', sorted(heavy & set(sys.modules))))\n"
        f"sys.argv = [{program!r}]\nfrom jobtool.cli.{module} import main\nmain()"
    )
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment({variable: "bash_complete", **asked}),
        timeout=60,
    )
    assert "plain," in done.stdout
    assert "HEAVY []" in done.stdout, done
