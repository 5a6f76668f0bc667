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

#: How often a running ``cp`` is looked after.
LOOK_SECONDS = 0.1


class Cp:
    """Copies one file after another; what ``cp`` can't copy is left to the next method."""

    name = "cp"

    def available(self, source: Store, destination: Store) -> str | None:
        """Say why not, unless both sides are folders."""
        for store in (source, destination):
            if not is_local(store.url):
                return f"{store.url} is no local folder"
        return None

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Claim each file once it has its name."""
        for file in files:
            if context.stop.is_set():
                return
            context.require_held()
            if copy(file, context):
                yield file.number


def copy(file: MethodFile, context: MethodContext) -> bool:
    """Copy one file; False if it isn't there whole."""
    # jobtool writes through no link below the destination, and neither must this.
    root = os.path.realpath(context.destination.url)
    folder = os.path.dirname(os.path.join(root, file.destination_path))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    if os.path.realpath(folder) != folder:
        return False
    # No shell sees the names, and none is taken for an option. Whatever stands there is replaced,
    # not written into: it may be a link.
    command = ["cp", "--remove-destination", "--no-target-directory", "--"]
    with subprocess.Popen(
        [*command, file.source, os.path.join(folder, os.path.basename(file.destination_path))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        return wait(process, context.stop) == 0


def wait(process: subprocess.Popen[bytes], stop: Stop) -> int:
    """Wait for a program in slices, so that the worker knows that this thread lives."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(LOOK_SECONDS)
        if stop.is_set():
            process.kill()
