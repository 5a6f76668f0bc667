"""A site with an archive, a processing location, a catalog, and people who stage items."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jobtool
from jobtool.catalog.catalog import Catalog
from jobtool.packages.manifest import decode_manifest
from tests.commands import Done, finish, run, start_module
from tests.packages.made import make_package, manifest_of

FILES = {
    "d/scan_07/a.bin": b"a" * 1000,
    "d/scan_07/sub/b.bin": b"b" * 5000,
    "d/scan_07/sub/c.bin": b"",
    "d/scan_08/c.bin": b"c" * 10,
}


@dataclass
class World:
    """Everything below ``root``."""

    root: Path
    archive_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.archive = self.root / "archive"
        self.work = self.root / "work"
        self.catalog = self.root / "catalog"
        self.sites = self.root / "sites.toml"
        for folder in (self.archive, self.work):
            folder.mkdir(parents=True)
        self.write_sites(self.work)

    def write_sites(self, work: Path) -> None:
        self.sites.write_text(
            f"""
catalog = {json.dumps(str(self.catalog))}
[sites.cologne.archive]
url = {json.dumps(self.archive_url or str(self.archive))}
[sites.cologne.buffer]
url = {json.dumps(str(self.root / "buffer"))}
[sites.cologne.processing]
url = {json.dumps(str(work))}
[sites.chile.archive]
url = {json.dumps(str(self.root / "chile"))}
"""
        )

    def pack(self, files: dict[str, bytes], name: str = "night-1", folder: str = "archive") -> Path:
        """Make a package in a folder of this world."""
        (self.root / folder).mkdir(exist_ok=True)
        return make_package(self.root / folder, files, name=name)

    def record(self, *items: str, tar: Path, url: str = "", **changes: Any) -> None:
        """Have the catalog say that a package holds items."""
        manifest = decode_manifest(manifest_of(tar).read_bytes(), where=str(tar))
        values: dict[str, Any] = {
            "package": tar.name.removesuffix(".tar"),
            "site": "cologne",
            "location": "archive",
            "url": url or str(tar),
            "form": "package",
            "size": 1,
            "files": 1,
            "digest": f"md5:{manifest.tar.md5}",
            "verified_at": datetime.now(UTC),
            "state": "present",
        }
        self.write(*(jobtool.Copy(item=item, **{**values, **changes}) for item in items))

    def write(self, *copies: jobtool.Copy) -> None:
        writer = jobtool.catalog_writer("archiver", self.catalog)
        writer.add(copies)
        writer.flush()

    def env(self, who: str = "ada") -> dict[str, str]:
        return {
            "JOBTOOL_SITES": str(self.sites),
            "JOBTOOL_SITE": "cologne",
            "XDG_STATE_HOME": str(self.root / f"state of {who}"),
            "LOGNAME": who,
            **self.environment,
        }

    def run(self, *command: object, who: str = "ada") -> Done:
        """Run ``jobtool …`` as somebody."""
        return run("jobtool", *command, env=self.env(who))

    def ok(self, *command: object, who: str = "ada") -> Done:
        done = self.run(*command, who=who)
        assert done.exit_code == 0, done
        return done

    def killed(self, step: str, *command: object, nth: int = 1) -> None:
        """Run ``jobtool …`` and have it killed at a step."""
        arguments = (step, str(nth), *map(str, command))
        done = finish(start_module("tests.staging.victim", *arguments, env=self.env()))
        assert done.exit_code == -9, done

    def copies(self, item: str) -> dict[str, str]:
        """The states of an item's copies by their place."""
        return {copy.place: copy.state for copy in Catalog(str(self.catalog)).copies(item)}

    def listed(self) -> list[dict[str, Any]]:
        done = self.ok("stage", "--list", "--json")
        return [json.loads(line) for line in done.lines]

    def staged(self) -> dict[str, bytes]:
        """The files at the processing location."""
        return {
            os.path.relpath(path, self.work): path.read_bytes()
            for path in self.work.rglob("*")
            if path.is_file()
        }

    def records(self, kind: str) -> list[dict[str, Any]]:
        found = sorted((self.catalog / "access").glob(f"*-{kind}-*.json"))
        return [json.loads(path.read_bytes()) for path in found]

    def jobs(self, who: str = "ada") -> list[Path]:
        return sorted((self.root / f"state of {who}").rglob("*.txt"))


def world_in(folder: Path) -> World:
    """A world with one package of two items in the archive."""
    world = World(folder)
    world.record("d/scan_07", "d/scan_08", tar=world.pack(FILES))
    return world


def below(prefix: str, files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path.startswith(prefix)}
