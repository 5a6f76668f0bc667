"""The hidden folder in which programs put files: when it is removed, and when it isn't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtool.errors import ClaimLostError
from jobtool.methods.landing import landing_in
from jobtool.methods.method import MethodContext
from jobtool.stop import Stop
from jobtool.stores.registry import StoreRegistry

FOLDER = ".jobtool-x-incoming"


class Claim:
    """A claim that can be lost without notice."""

    is_lost = False

    def require_held(self) -> None:
        if self.is_lost:
            raise ClaimLostError("the lease is over")


def context_of(folder: Path, claim: Claim, stop: Stop) -> MethodContext:
    store = StoreRegistry({}).open(str(folder), "destination")
    return MethodContext(
        source=store,
        destination=store,
        stop=stop,
        threads=1,
        require_held=claim.require_held,
        log_path=str(folder / "log"),
        stall_seconds=60,
        bandwidth=lambda: None,
        arrived=lambda number, size: None,
        note=lambda reason: None,
    )


def test_it_is_removed_at_the_end_and_kept_for_the_next_attempt_after_a_stop(
    tmp_path: Path,
) -> None:
    stop = Stop()
    context = context_of(tmp_path, Claim(), stop)
    with landing_in(context, str(tmp_path), FOLDER):
        assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path) == []
    with landing_in(context, str(tmp_path), FOLDER):
        (tmp_path / FOLDER / "part").write_bytes(b"data")
        stop.set()
    assert os.listdir(tmp_path / FOLDER) == ["part"]
    with landing_in(context, str(tmp_path), FOLDER):
        assert os.listdir(tmp_path / FOLDER) == ["part"]
    with landing_in(context, str(tmp_path), FOLDER, is_empty=True):
        assert os.listdir(tmp_path / FOLDER) == []


def test_a_worker_that_has_lost_the_job_leaves_it_to_the_other(tmp_path: Path) -> None:
    claim = Claim()
    context = context_of(tmp_path, claim, Stop())
    landing = landing_in(context, str(tmp_path), FOLDER)
    with pytest.raises(ClaimLostError), landing:
        claim.is_lost = True
    assert os.listdir(tmp_path) == [FOLDER]
