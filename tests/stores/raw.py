"""Access to the bytes of each store by other means than the store."""

from __future__ import annotations

import os
from typing import Any

from jobtool.stores.memory import Memory
from jobtool.stores.store import Attributes, Special


class LocalRaw:
    """By the operating system's calls on bytes."""

    def __init__(self, root: str) -> None:
        self.root = os.fsencode(root)

    def _full(self, path: str) -> bytes:
        return os.path.join(self.root, os.fsencode(path))

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        full = self._full(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        if mtime_ns is not None:
            os.utime(full, ns=(mtime_ns, mtime_ns))

    def read(self, path: str) -> bytes:
        with open(self._full(path), "rb") as file:
            return file.read()

    def make_special(self, special: Special) -> None:
        full = self._full(special.path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if special.what == "empty-folder":
            os.mkdir(full)
        elif special.what == "link" and special.target is not None:
            os.symlink(os.fsencode(special.target), full)
        else:
            raise NotImplementedError(special.what)

    def paths(self) -> set[str]:
        return {
            os.fsdecode(os.path.relpath(os.path.join(folder, name), self.root))
            for folder, _, names in os.walk(self.root)
            for name in names
        }


class MemoryRaw:
    """By the dictionary that holds the files."""

    def __init__(self, memory: Memory, prefix: str) -> None:
        self.memory = memory
        self.prefix = prefix

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        self.memory.files[self.prefix + path] = (data, Attributes(mtime_ns=mtime_ns or 0))

    def read(self, path: str) -> bytes:
        return self.memory.files[self.prefix + path][0]

    def paths(self) -> set[str]:
        return {key.removeprefix(self.prefix) for key in self.memory.files}


class S3Raw:
    """By a plain boto3 client."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        metadata = {} if mtime_ns is None else {"mtime": f"{mtime_ns / 1e9:.6f}"}
        key = self.prefix + path
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data, Metadata=metadata)

    def read(self, path: str) -> bytes:
        found = self.client.get_object(Bucket=self.bucket, Key=self.prefix + path)
        data: bytes = found["Body"].read()
        return data

    def make_special(self, special: Special) -> None:
        if special.what != "empty-folder":
            raise NotImplementedError(special.what)
        self.write(special.path + "/", b"")  # the marker of a folder that web consoles make

    def head(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.head_object(Bucket=self.bucket, Key=self.prefix + path)
        return found

    def paths(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        found = {item["Key"] for page in pages for item in page.get("Contents", ())}
        return {key.removeprefix(self.prefix) for key in found}


class HdfsRaw:
    """By a plain hdfs-native client."""

    def __init__(self, client: Any, root: str) -> None:
        self.client = client
        self.root = root

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        from hdfs_native import WriteOptions

        full = f"{self.root}/{path}"
        with self.client.create(full, WriteOptions(overwrite=True, create_parent=True)) as file:
            file.write(data)
        if mtime_ns is not None:
            self.client.set_times(full, mtime_ns // 1_000_000, 0)

    def read(self, path: str) -> bytes:
        data: bytes = self.client.read(f"{self.root}/{path}").read()
        return data

    def make_special(self, special: Special) -> None:
        if special.what != "empty-folder":
            raise NotImplementedError(special.what)
        self.client.mkdirs(f"{self.root}/{special.path}", create_parent=True)

    def paths(self) -> set[str]:
        start = len(self.root) + 1
        found = self.client.list_status(self.root, recursive=True)
        return {each.path[start:] for each in found if not each.isdir}


class AzureRaw:
    """By Azure's own client, in other ways than the store."""

    def __init__(self, client: Any, container: str, prefix: str = "") -> None:
        self.client = client.get_container_client(container)
        self.prefix = prefix

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        metadata = {} if mtime_ns is None else {"mtime": f"{mtime_ns / 1e9:.6f}"}
        self.client.upload_blob(self.prefix + path, data, overwrite=True, metadata=metadata)

    def read(self, path: str) -> bytes:
        data: bytes = self.client.download_blob(self.prefix + path).readall()
        return data

    def make_special(self, special: Special) -> None:
        if special.what != "empty-folder":
            raise NotImplementedError(special.what)
        name, metadata = self.prefix + special.path, {"hdi_isfolder": "true"}
        self.client.upload_blob(name, b"", metadata=metadata)

    def properties(self, path: str) -> Any:
        return self.client.get_blob_client(self.prefix + path).get_blob_properties()

    def uncommitted(self, path: str) -> list[str]:
        client = self.client.get_blob_client(self.prefix + path)
        return [block.id for block in client.get_block_list("uncommitted")[1]]

    def paths(self) -> set[str]:
        return {name.removeprefix(self.prefix) for name in self.client.list_blob_names()}


class GcsRaw:
    """By Google's own client."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self.bucket = client.bucket(bucket)
        self.prefix = prefix

    def blob(self, path: str) -> Any:
        return self.bucket.blob(self.prefix + path)

    def write(self, path: str, data: bytes, mtime_ns: int | None = None) -> None:
        blob = self.blob(path)
        if mtime_ns is not None:
            blob.metadata = {"mtime": f"{mtime_ns / 1e9:.6f}"}
        blob.upload_from_string(data)

    def read(self, path: str) -> bytes:
        data: bytes = self.blob(path).download_as_bytes()
        return data

    def make_special(self, special: Special) -> None:
        if special.what != "empty-folder":
            raise NotImplementedError(special.what)
        self.write(special.path + "/", b"")  # the marker of a folder that the console makes

    def paths(self) -> set[str]:
        return {blob.name.removeprefix(self.prefix) for blob in self.bucket.list_blobs()}
