"""The client with blobs of Azurite, killed at random moments while it sends and receives."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chunks.functions import leftovers, wait_until_sent
from tests.chunks.victim import CHUNKSIZE
from tests.commands import finish, start_module
from tests.servers.azure import AzureServer

SIZES = {"large": 25 * CHUNKSIZE + 7, "with a space, ü%#": 3 * CHUNKSIZE, "empty": 0, "one": 1}


@pytest.mark.parametrize(
    ("mode", "kills"),
    [
        ("merge+verify", 2),
        ("place", 2),
        *(
            pytest.param(mode, 12, marks=pytest.mark.wide)
            for mode in ("merge", "merge+verify", "place", "place+verify")
        ),
    ],
)
def test_random_kills_lose_nothing(
    azurite: AzureServer, tmp_path: Path, mode: str, kills: int
) -> None:
    container = azurite.new_container()
    blobs = azurite.client.get_container_client(container)
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    for name, size in SIZES.items():
        (tmp_path / "in" / name).write_bytes(os.urandom(size))
        if mode.startswith("place"):
            blobs.upload_blob(name, (tmp_path / "in" / name).read_bytes())
    randomness, killed, command = random.Random(mode), 0, ("tests.chunks.victim", str(tmp_path))
    while True:
        process = start_module(*command, mode, container, "-", env=azurite.environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if killed < kills:
            wait_until_sent(tmp_path, randomness.randrange(6 * (killed + 1)), process)
            time.sleep(randomness.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
        done = finish(process)
        if done.exit_code == 0:
            assert done.stdout == "True\n"
            break
        assert done.exit_code == -signal.SIGKILL, done
        killed += 1
    assert killed
    for name in SIZES:
        sent = (tmp_path / "in" / name).read_bytes()
        if mode.startswith("merge"):
            assert blobs.download_blob(name).readall() == sent, name
        else:
            assert (tmp_path / "out" / name).read_bytes() == sent, name
    assert leftovers(tmp_path / "out") == []
    if mode.startswith("merge"):
        assert sorted(blob.name for blob in blobs.list_blobs()) == sorted(SIZES)
    transferred = Counter((tmp_path / "sent").read_text().splitlines())
    assert len(transferred) == 26 + 3 + 1 + 1
    if mode != "merge":  # there, chunks that a merge has removed before a kill are sent again
        # Each kill costs the chunks of four threads, and those that weren't recorded yet.
        assert sum(transferred.values()) - len(transferred) <= 8 * killed
