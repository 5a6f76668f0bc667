"""A method for jobtool: files between local folders, copied by ``cp``."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stop import Stop
from jobtool.stores.location import is_local
from jobtool.stores.store import Store

#: How often a running ``cp`` is checked, in seconds.
LOOK_SECONDS = 0.1


class Cp:
    """Copies one file after another. Files that ``cp`` can't copy go to the next method."""

    name = "cp"

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless both sides are folders."""
        for store in (source, destination):
            if not is_local(store.url):
                return f"{store.url} isn't a local folder"
        return None

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy each file, and claim it once it is complete."""
        for file in files:
            if context.stop.is_set():
                return
            context.require_held()
            if copy(file, context):
                yield file.number


def copy(file: MethodFile, context: MethodContext) -> bool:
    """Copy one file. Return False if it didn't arrive completely."""
    # Like jobtool, never write through a link below the destination.
    root = os.path.realpath(context.destination.url)
    folder = os.path.dirname(os.path.join(root, file.destination_path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    if os.path.realpath(folder) != folder:
        return False
    # No shell sees the names, and none is taken for an option. An existing file is replaced, not
    # written into: it may be a link.
    command = ["cp", "--remove-destination", "--no-target-directory", "--"]
    with subprocess.Popen(
        [*command, file.source, os.path.join(folder, os.path.basename(file.destination_path))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        return wait(process, context.stop) == 0


def wait(process: subprocess.Popen[bytes], stop: Stop) -> int:
    """Wait for a program in slices, so that the worker sees that this thread is alive."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(LOOK_SECONDS)
        if stop.is_set():
            process.kill()
