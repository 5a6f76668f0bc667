"""Runs the blocks of a page as a reader types them, and compares what they print.

A block marked ``bash`` must succeed; a block marked ``text`` right below it shows what it prints,
where ``…`` stands for anything, and a line that begins with a time for a line of a log. The home
folder is an empty one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.forked import MAINS, can_fork, put_scripts

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMEOUT_SECONDS = 120

#: A line by which a command is in the background or may be killed: it has to be the shell's child.
_CHILD = re.compile(rf"^ *({'|'.join(MAINS)}) .*&$|\btimeout\b|\bkill -", re.MULTILINE)


def run_blocks(page: str, folder: Path) -> int:
    """Run a page's blocks in order in ``folder``; return how many.

    Each has a shell of its own, and what it exports lasts to the end of the page. What is left
    running is ended. jobtool's commands are forks, unless the page kills one or has one in the
    background; plates are copies of those that ``examples/make_plates.py`` has made for a page.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    (folder / "examples").symlink_to(ROOT / "examples")
    home = folder / ".home"
    home.mkdir()
    scripts = home / "bin"
    scripts.mkdir()
    _put_python(scripts / "python", folder)
    blocks = list(BLOCK.finditer(text))
    inherited: list[int] = []
    if can_fork(os.environ) and not any(_CHILD.search(block.group(1)) for block in blocks):
        inherited = [put_scripts(scripts)]
    path = f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(home)}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    groups: list[int] = []
    try:
        return sum(_run(block, text, folder, environment, groups, inherited) for block in blocks)
    finally:
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for descriptor in inherited:
            os.close(descriptor)


def _put_python(script: Path, folder: Path) -> None:
    """Write a ``python`` that makes the same plates only once for all pages of this process."""
    kept = folder.parent / "kept-plates"
    kept.mkdir(exist_ok=True)
    names = (sys.executable, str(kept), str(ROOT / "tests" / "kept_plates.sh"))
    python, folder_of_plates, rest = map(shlex.quote, names)
    text = f"#!/bin/sh\nPYTHON={python}\nKEPT={folder_of_plates}\n. {rest}\n"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)


def _run(
    match: re.Match[str],
    text: str,
    folder: Path,
    environment: dict[str, str],
    groups: list[int],
    inherited: list[int],
) -> bool:
    """Run one block and compare what it prints; return False if there is nothing to run."""
    # The environment exists and is active: the tests run in it.
    lines = [line for line in match.group(1).splitlines() if not line.startswith("make ")]
    command = "\n".join(line for line in lines if "activate" not in line)
    if not command.strip():
        return False
    exported = folder / ".home" / "exported"
    whole = f"{command}\nenv --null > {exported}"
    process = subprocess.Popen(
        ["bash", "-ec", whole],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=inherited,
    )
    groups.append(process.pid)
    output, errors = process.communicate(timeout=_TIMEOUT_SECONDS)
    assert process.returncode == 0, f"{command}\n{output}{errors}"
    variables = exported.read_text(errors="surrogateescape").removesuffix("\0").split("\0")
    environment.update(variable.split("=", 1) for variable in variables)
    shown = SHOWN.match(text, match.end())
    for line in shown.group(1).splitlines() if shown else ():
        if line != "…" and not re.match(r"\d{4}-\d\d-\d\dT", line):
            assert re.search(_pattern(line), output, re.MULTILINE), (line, output)
    return True


def _pattern(line: str) -> str:
    return "^" + ".*".join(re.escape(piece) for piece in line.split("…")) + "$"
