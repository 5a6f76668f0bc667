"""Stores of every kind, each with other access to its bytes."""

from __future__ import annotations

import pytest

from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.registry import StoreRegistry
from tests.stores.raw import LocalRaw, MemoryRaw, S3Raw


@pytest.fixture
def make_store(request, tmp_path, monkeypatch):
    """A function from ``memory``, ``local`` or ``s3`` to an empty store and its raw access."""

    def make(kind: str):
        if kind == "memory":
            memory = Memory()
            return MemoryStore(memory, "memory://x"), MemoryRaw(memory, "")
        if kind == "local":
            root = tmp_path / f"local{len(list(tmp_path.iterdir()))}"
            root.mkdir()
            return LocalStore(str(root)), LocalRaw(str(root))
        server = request.getfixturevalue("rclone_s3")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        bucket = server.new_bucket()
        store = StoreRegistry().open(f"s3://{bucket}", "destination")
        return store, S3Raw(server.client, bucket)

    return make
