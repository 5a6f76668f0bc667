"""Sites, and packages that have arrived at one of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.commands import Done, run
from tests.packages.made import make_package, tree


class World:
    """Three sites below a folder: ``hub`` and ``cologne`` have buffers at ``buffers``."""

    def __init__(self, folder: Path, buffers: str | None = None) -> None:
        self.folder = folder
        self.buffer = folder / "cologne/buffer"
        self.sites = folder / "sites.toml"
        for name in ("chile/buffer", "hub/buffer", "cologne/buffer", "cologne/work", "cologne/arc"):
            (folder / name).mkdir(parents=True)
        at = str(folder) if buffers is None else buffers
        self.sites.write_text(
            f"""
[sites.chile.buffer]
url = "{folder}/chile/buffer"
[sites.hub.buffer]
url = "{at}/hub/buffer"
[sites.cologne.buffer]
url = "{at}/cologne/buffer"
[sites.cologne.processing]
url = "{folder}/cologne/work"
[sites.cologne.archive]
url = "{folder}/cologne/arc"
[[routes]]
type = "relay"
from = "chile"
to = "cologne"
via = "hub"
[[routes]]
type = "custom"
from = "hub.buffer"
to = "cologne.buffer"
"""
        )

    def package(self, name: str, items: dict[str, int], *, folder: Path | None = None) -> Path:
        """Write a package of items with so many files each into the buffer, or a folder."""
        files = {
            f"{item}/{number}": os.fsencode(f"{name} {item} {number} ") * 999
            for item, count in items.items()
            for number in range(count)
        }
        return make_package(folder or self.buffer, files, name=name, items=True)

    def receive(self, *arguments: object, output: str = "arrived", url: object = None) -> Done:
        """Run the command on the buffer."""
        place = self.buffer if url is None else url
        return run("jobtool", "receive", place, "-o", self.folder / output, *arguments)

    @property
    def at_cologne(self) -> tuple[object, ...]:
        """The options that say where this is."""
        return "--sites", self.sites, "--site", "cologne"

    @property
    def joblist(self) -> Path:
        """The joblist that ``receive`` makes."""
        return self.folder / "arrived"

    def job_files(self) -> dict[str, str]:
        """The job files by their names."""
        return {path.stem: path.read_text() for path in sorted(self.joblist.glob("*.txt"))}

    def unpacked(self) -> dict[str, bytes]:
        """The files that were unpacked at cologne."""
        return tree(self.folder / "cologne/work")


def events_of(done: Done) -> list[dict]:
    """The JSON lines that a command has printed."""
    return [json.loads(line) for line in done.lines]
