"""Make the pictures of terminals in docs/pictures, by running the commands that they show.

    python docs/pictures.py              # all
    python docs/pictures.py worker       # one

Each command runs on a terminal of 80 columns. Sizes and times differ from run to run, so the
pictures are made by hand, when what they show has changed, and committed. The folder in which the
commands run is shown as /lab, the host as a node. With Chromium installed, a picture of a report
is made as well.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "pictures"
COLUMNS, ROWS = 80, 24
SHOWN_FOLDER = "/lab"
TIMEOUT_SECONDS = 120

_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])")
_FONT_FACES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A command and what is shown of it: its end, or when ``moment`` is on the screen.

    The command ``before`` runs before it, and ``beside`` while it does.
    """

    name: str
    command: str
    before: str = ""
    beside: str = ""
    moment: str = ""


MAKE = "python examples/make_plates.py results > made"
GENERATE = "generate-joblist -i results -o source08 -d copies"
SENT = f"{MAKE} && {GENERATE} -v 0 > made && transfer-worker -i source08 -v 0"

PICTURES_TO_MAKE = (
    Picture(name="generate", before=MAKE, command=GENERATE),
    Picture(
        name="worker",
        before=f"{MAKE} && {GENERATE} -v 0 > made",
        command="transfer-worker -i source08 --bandwidth 4MB/s",
        moment=r"(?s)(all verified.*){2}A1170385\b.*[3-6]\d %[^\n]*copying",
    ),
    Picture(
        name="top",
        before=f"{MAKE} && {GENERATE} -v 0 > made",
        beside="transfer-worker source08 --bandwidth 3MB/s -v 0",
        command="jobtool top source08",
        moment=r"(?s)ongoing +[1-9]\d% of 20.*q quit",
    ),
    Picture(
        name="summary",
        before=f"{MAKE} && {GENERATE} -v 0 > made && "
        "rm -r $(sed -n 's/^source: //p' source08/source_8__J2__A1170386.txt) && "
        "transfer-worker -i source08 -v 0 > made 2>&1; true",
        command="summarise-jobs -i source08",
    ),
    Picture(
        name="verify",
        before=f"{SENT} && rm copies/source_8/J1/A1170383/A1170383.zarr/.zattrs",
        command="jobtool verify source08 --deep",
    ),
    Picture(
        name="show",
        before=f"{SENT}",
        command="jobtool show source08 source_8__J1__A1170383",
    ),
)


class Screen:
    """As much of a terminal as progress bars need: lines, and a cursor that goes up and down."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0

    def write(self, text: str) -> None:
        """Apply what a program prints; colours stay in the lines as they are."""
        end = 0
        for found in _CONTROL.finditer(text):
            self._put(text[end : found.start()])
            end = found.end()
            number, kind, newline = found.groups()
            if newline == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif kind == "A":
                self._row = max(0, self._row - int(number or 1))
            elif kind == "H":  # a whole screen follows
                self.lines, self._row = [""], 0
            elif kind == "K":
                self.lines[self._row] = ""
            elif kind == "m":
                self._put(found.group())
        self._put(text[end:])

    def text(self) -> str:
        """Return the lines, with their colours."""
        return "\n".join(self.lines).rstrip("\n")

    def _put(self, text: str) -> None:
        self.lines[self._row] += text


def run(picture: Picture, folder: Path) -> str:
    """Run a picture's command on a terminal; return the screen, with colours."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    environment.pop("NO_COLOR", None)
    if picture.before:
        subprocess.run(["bash", "-c", picture.before], cwd=folder, env=environment, check=True)
    beside = subprocess.Popen(
        ["bash", "-c", picture.beside or "true"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", picture.command],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen = Screen()
    until = time.monotonic() + TIMEOUT_SECONDS
    try:
        while time.monotonic() < until:
            try:
                data = os.read(ours, 65536)
            except OSError:  # EIO: the last program has closed the terminal
                data = b""
            if not data:
                break
            screen.write(data.decode(errors="replace"))
            if picture.moment and re.search(picture.moment, screen.text()):
                return screen.text()
    finally:
        os.close(ours)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL if picture.moment else signal.SIGTERM)
        process.wait()
        if beside.poll() is None:
            os.killpg(beside.pid, signal.SIGTERM)
        beside.wait()
    if picture.moment:
        raise SystemExit(f"{picture.name}: {picture.moment!r} was never on the screen")
    return screen.text()


def drawn(picture: Picture, screen: str) -> str:
    """Return the screen as SVG, below the command that was typed. It needs no network."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text(f"$ {picture.command}", style="bold"))
    for line in Text.from_ansi(screen).split():
        for piece in _pieces(line):
            console.print(piece)
    svg = console.export_svg(title=picture.command.split()[0], unique_id=f"jobtool-{picture.name}")
    return _FONT_FACES.sub("", svg)


def _pieces(line: Text) -> Iterator[Text]:
    """Cut a line where a terminal goes on in the next row."""
    while line.cell_len > COLUMNS:
        end = next(n for n in range(len(line), 0, -1) if line[:n].cell_len <= COLUMNS)
        piece, line = line.divide([end])
        yield piece
    yield line


def report(folder: Path, output: Path) -> None:
    """Make a picture of a report's first screen by Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    subprocess.run(
        ["bash", "-c", f"{SENT} && jobtool report source08 -o report.html -v 0"],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=True,
    )
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    page = folder / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace(str(folder), SHOWN_FOLDER), "utf-8")
    subprocess.run(
        [chromium, *options, "--window-size=900,1100", f"--screenshot={output}", f"file://{page}"],
        check=True,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
    )


def main(names: list[str], output: Path = PICTURES) -> None:
    """Make the pictures of these names, or all."""
    output.mkdir(exist_ok=True)
    for picture in PICTURES_TO_MAKE:
        if not names or picture.name in names:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "examples").symlink_to(ROOT / "examples")
                screen = run(picture, Path(folder)).replace(folder, SHOWN_FOLDER)
                # Of the same width, so that tables stay as they are.
                host = socket.gethostname()
                screen = screen.replace(
                    f"{host}:", f"n{'17'.zfill(len(host) - 1)[1 - len(host) :]}:"
                )
            (output / f"{picture.name}.svg").write_text(drawn(picture, screen), encoding="utf-8")
    if not names or "report" in names:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "examples").symlink_to(ROOT / "examples")
            report(Path(folder), output / "report.png")


if __name__ == "__main__":
    main(sys.argv[1:])
