"""Runs the blocks of a page as a reader types them, and compares what they print.

A block marked ``bash`` must succeed; a block marked ``text`` right below it shows what it prints,
where ``…`` stands for anything, and a line that begins with a time for a line of a log. The home
folder is an empty one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMEOUT_SECONDS = 120


def run_blocks(page: str, folder: Path) -> int:
    """Run a page's blocks in order in ``folder``, each in a shell of its own; return how many."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (folder / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(folder / ".home")}
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    (folder / ".home").mkdir()
    ran = 0
    for match in _BLOCK.finditer(text):
        # The environment exists and is active: the tests run in it.
        lines = [line for line in match.group(1).splitlines() if not line.startswith("make ")]
        command = "\n".join(line for line in lines if "activate" not in line)
        if not command.strip():
            continue
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        ran += 1
        shown = _SHOWN.match(text, match.end())
        for line in shown.group(1).splitlines() if shown else ():
            if line != "…" and not re.match(r"\d{4}-\d\d-\d\dT", line):
                assert re.search(_pattern(line), done.stdout, re.MULTILINE), (line, done.stdout)
    return ran


def _pattern(line: str) -> str:
    return "^" + ".*".join(re.escape(piece) for piece in line.split("…")) + "$"
