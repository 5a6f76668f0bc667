"""Stand-ins of programs on PATH, for tests of methods that run programs which lie or fail."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.commands import Done, run
from tests.trees import contents, receipts, statuses


@dataclass(kw_only=True)
class Bench:
    """A joblist whose methods run programs: a source, a destination, and a folder first on PATH.

    ``target`` is the folder that ``url`` names, to look at what has arrived. ``tables`` are those
    of joblist.toml by which the servers are reached.
    """

    folder: Path
    source: Path
    target: Path
    url: str
    tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.programs.mkdir(parents=True)
        self.env["PATH"] = f"{self.programs}{os.pathsep}{os.environ['PATH']}"

    @property
    def programs(self) -> Path:
        """The folder of stand-ins."""
        return self.folder / "programs"

    @property
    def joblist(self) -> Path:
        """The joblist."""
        return self.folder / "list"

    def stand_in(self, name: str, script: Path, **variables: str) -> Path:
        """Put a Python script in the place of a program. It sees the variables on any host."""
        copy = self.programs / script.name  # so that its processes can be told from others'
        shutil.copy(script, copy)
        words = " ".join(f"{key}={shlex.quote(value)}" for key, value in variables.items())
        program = self.programs / name
        program.write_text(f'#!/bin/sh\n{words} exec {sys.executable} -I -S {copy} "$@"\n')
        program.chmod(0o755)
        return program

    def generate(
        self,
        tables: Mapping[str, Mapping[str, object]],
        *,
        source: str | None = None,
        **keys: object,
    ) -> None:
        """Make a joblist with these keys and tables in joblist.toml."""
        places = ("-i", source or self.source, "-o", self.joblist, "-d", self.url, "-l", "tree")
        done = run("generate-joblist", *places, env=self.env)
        assert done.exit_code == 0, done
        path = self.joblist / "joblist.toml"
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        text += path.read_text()
        for name, table in {**self.tables, **tables}.items():
            text += f"\n[{name}]\n"
            text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        path.write_text(text)

    def work(self, methods: str, *options: object) -> Done:
        """Transfer the joblist."""
        arguments = ("-i", self.joblist, "--methods", methods, "-v", "0", *options)
        return run("transfer-worker", *arguments, env=self.env)

    def methods(self) -> dict[str, str | None]:
        """The method that each receipt names, by the path below the destination."""
        start = len(self.url) + 1
        return {one.dst_path[start:]: one.method for one in receipts(self.joblist)}

    def assert_all_proven(self) -> None:
        """All is there, proven, and nothing else."""
        assert set(statuses(self.joblist).values()) == {"success"}
        assert contents(self.target) == contents(self.source)
        assert len(self.methods()) == len(contents(self.source))

    def log(self, method: str) -> str:
        """What the programs of a method have printed in all attempts."""
        paths = sorted((self.joblist / "logs").glob(f"*.{method}.log"))
        return "".join(path.read_text(errors="replace") for path in paths)

    def running(self) -> list[int]:
        """The processes whose command names this bench: none may outlive a worker."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.programs) in command and int(name) != os.getpid():
                found.append(int(name))
        return found
