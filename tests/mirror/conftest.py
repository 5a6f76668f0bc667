"""Worlds with copies in a folder, and in a bucket of moto's server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mirror.worlds import FILES_OF, World, done_world
from tests.servers.s3 import S3Server


@pytest.fixture
def server(moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A server, whose address and keys this process's environment has."""
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    return moto_s3


@pytest.fixture(params=["local", "s3"])
def world(request: pytest.FixtureRequest, folder: Path) -> World:
    """A joblist that is done."""
    if request.param == "local":
        return done_world(folder)
    files = {name: data for name, data in FILES_OF.items() if name.isprintable()}  # as keys are
    return done_world(folder, request.getfixturevalue("server"), files)


@pytest.fixture
def local(folder: Path) -> World:
    """A joblist that is done, with copies in a folder."""
    return done_world(folder)
