"""The findings of ``jobtool doctor``, and the leftovers that it must not leave."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.commands import BIN, Done
from tests.prepare import prepare
from tests.servers.s3 import S3Server
from tests.trees import make_items

DOCTOR = BIN / "jobtool"


@dataclass(frozen=True)
class Examined:
    """The findings of a run, by subject and check."""

    done: Done
    findings: list[dict[str, str]] = field(default_factory=list)

    def one(self, about: str, check: str) -> dict[str, str]:
        """The only finding of a check."""
        (found,) = [f for f in self.findings if (f["about"], f["check"]) == (about, check)]
        return found

    def checks(self, verdict: str) -> list[tuple[str, str]]:
        """The checks with this verdict."""
        return [(f["about"], f["check"]) for f in self.findings if f["verdict"] == verdict]

    def assert_all_pass(self, *, but: Iterable[tuple[str, str]] = ()) -> None:
        """Everything passed except some warnings."""
        assert self.done.exit_code == 0, self.done
        assert self.checks("fail") == []
        assert self.checks("warn") == list(but), self.findings


def examined(done: Done) -> Examined:
    """Read the output of ``--json``."""
    findings: list[dict[str, str]] = [json.loads(line) for line in done.lines]
    for finding in findings:
        assert finding["event"] == "check", finding
        assert bool(finding["advice"]) == (finding["verdict"] != "pass"), finding
    return Examined(done, findings)


def make_joblist(folder: Path, destination: object, *, jobs: int = 3, **options: str) -> Path:
    """Make a joblist of small items; ``options`` go to ``--set``."""
    make_items(folder / "in", jobs)
    settings = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    where = ("-i", folder / "in", "-o", folder / "list", "-d", destination, "-l", "tree")
    prepare("generate-joblist", *where, *settings, "-v", 0)
    return folder / "list"


def listing(*roots: Path) -> dict[str, tuple[str, bytes]]:
    """Every path below some folders, folders and hidden files too, with its bytes."""
    found = {}
    for path in [path for root in roots for path in (str(root), *all_below(root))]:
        with contextlib.suppress(FileNotFoundError):  # another process may be deleting it
            is_folder = os.path.isdir(path)
            found[path] = ("folder", b"") if is_folder else ("file", Path(path).read_bytes())
    return found


def held_by(server: S3Server, bucket: str) -> tuple[list[Any], list[Any], list[str]]:
    """What a bucket holds: objects, unfinished uploads, and files of a server that keeps any."""
    objects = server.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    on_disk = [] if server.folder is None else all_below(server.folder / bucket)
    return [item["Key"] for item in objects], unfinished(server, bucket), on_disk


def all_below(folder: Path) -> list[str]:
    """The paths of all files and folders below one. Other processes may be deleting there."""
    return sorted(
        os.path.join(parent, name)
        for parent, folders, files in os.walk(folder)  # skips names that are deleted meanwhile
        for name in folders + files
    )


def unfinished(server: S3Server, bucket: str) -> list[str]:
    """The keys of unfinished multipart uploads."""
    try:
        uploads = server.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    except server.client.exceptions.NoSuchUpload:  # rclone's answer if there never was one
        return []
    return [item["Key"] for item in uploads]


def eventually(is_true: Callable[[], bool]) -> bool:
    """Whether something becomes true within a while: another process is working on it."""
    deadline = time.monotonic() + 30
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def as_node(name: str, *command: object, env: Mapping[str, str] | None = None) -> list[object]:
    """A command that runs under another host name, which needs root."""
    settings = [f"{key}={value}" for key, value in (env or {}).items()]
    script = 'hostname "$0" && exec "$@"'
    return ["unshare", "--uts", "sh", "-c", script, name, "env", *settings, *command]


def without_credentials(server: S3Server) -> dict[str, str]:
    """The environment of a process that has the server's address but not its credentials."""
    hidden = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {key: value for key, value in server.environment.items() if key not in hidden}
