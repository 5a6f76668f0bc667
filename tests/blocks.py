"""Runs the blocks of a page as a reader types them, and compares what they print.

A block marked ``bash`` must succeed; a block marked ``text`` right below it shows what it prints,
where ``…`` stands for anything, and a line that begins with a time for a line of a log. The home
folder is an empty one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMEOUT_SECONDS = 120


def run_blocks(page: str, folder: Path) -> int:
    """Run a page's blocks in order in ``folder``; return how many.

    Each has a shell of its own, and what it exports lasts to the end of the page. What is left
    running is ended.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    (folder / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(folder / ".home")}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    (folder / ".home").mkdir()
    groups: list[int] = []
    try:
        return sum(_run(match, text, folder, environment, groups) for match in BLOCK.finditer(text))
    finally:
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def _run(
    match: re.Match[str], text: str, folder: Path, environment: dict[str, str], groups: list[int]
) -> bool:
    """Run one block and compare what it prints; return False if there is nothing to run."""
    # The environment exists and is active: the tests run in it.
    lines = [line for line in match.group(1).splitlines() if not line.startswith("make ")]
    command = "\n".join(line for line in lines if "activate" not in line)
    if not command.strip():
        return False
    exported = folder / ".home" / "exported"
    keep = "python -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    whole = f"{command}\n{keep} > {exported}"
    process = subprocess.Popen(
        ["bash", "-ec", whole],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    groups.append(process.pid)
    output, errors = process.communicate(timeout=_TIMEOUT_SECONDS)
    assert process.returncode == 0, f"{command}\n{output}{errors}"
    environment.update(json.loads(exported.read_text()))
    shown = SHOWN.match(text, match.end())
    for line in shown.group(1).splitlines() if shown else ():
        if line != "…" and not re.match(r"\d{4}-\d\d-\d\dT", line):
            assert re.search(_pattern(line), output, re.MULTILINE), (line, output)
    return True


def _pattern(line: str) -> str:
    return "^" + ".*".join(re.escape(piece) for piece in line.split("…")) + "$"
