"""A method that brings files of one HDFS to another as an external program would, and claims them.

What it brings goes by a file's name: ``wrong`` is other bytes of the same size, ``short`` is the
file without its end, ``blocks`` is right and has smaller blocks than the cluster's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

import hdfs_native

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stores.store import Store

BLOCK_BYTES = 1024 * 1024


class Bring:
    """``$BRING_FROM`` and ``$BRING_TO`` are the clusters' URLs."""

    name = "bring"

    def available(self, source: Store, destination: Store) -> str | None:
        return None

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterable[int]:
        theirs, ours = (hdfs_native.Client(os.environ[name]) for name in ("BRING_FROM", "BRING_TO"))
        for file in files:
            source, destination = (urlsplit(url).path for url in (file.source, file.destination))
            data = theirs.read(source).read()
            if "wrong" in destination:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if "short" in destination:
                data = data[:-1]
            size = BLOCK_BYTES if "blocks" in destination else None
            options = hdfs_native.WriteOptions(overwrite=True, create_parent=True, block_size=size)
            with ours.create(destination, options) as written:
                written.write(data)
            yield file.number
