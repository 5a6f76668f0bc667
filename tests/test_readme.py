"""The README's commands do what it says, in order, as a newcomer types them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_runs_and_shows_what_stands_below_it(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    for name in ("examples",):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = 0
    for match in BLOCK.finditer(text):
        # The two make targets install this very package; CI runs them as they stand.
        lines = [line for line in match.group(1).splitlines() if not line.startswith("make ")]
        command = "\n".join(line for line in lines if "activate" not in line)
        if not command.strip():
            continue
        result = subprocess.run(
            ["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        ran += 1
        shown = re.match(r"\n+```text\n(.*?)^```$", text[match.end() :], re.MULTILINE | re.DOTALL)
        for line in shown.group(1).splitlines() if shown else ():
            stamp_or_time = re.match(r"\d{4}-\d\d-\d\dT", line)
            if line != "…" and not stamp_or_time:
                assert re.search(_pattern(line), result.stdout, re.MULTILINE), line
    assert ran >= 5


def _pattern(line: str) -> str:
    return "^" + ".*".join(re.escape(piece) for piece in line.split("…")) + "$"
