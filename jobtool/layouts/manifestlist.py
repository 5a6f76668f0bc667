"""A list of files as the source of the layout ``manifest``: an S3 Inventory, or that of find."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from jobtool.errors import LayoutError, UsageError
from jobtool.layouts.lists.listed import ListedFile, ListFormat
from jobtool.layouts.lists.naming import Naming
from jobtool.layouts.lists.reading import ListReader
from jobtool.layouts.namedfiles import LeftOut
from jobtool.names import quote
from jobtool.stores.location import Location, join
from jobtool.stores.store import Store


class ListedRow(msgspec.Struct, frozen=True):
    """A file of a list: its URL, its path below the root of the list, its size and time."""

    source: str
    path: str
    size: int | None
    mtime_ns: int | None


class ManifestList:
    """The list at ``path``.

    ``root`` is the path or URL below which its files lie. None is the bucket that the list names,
    or the folder of the list. Raises ``LayoutError`` and ``UsageError``.
    """

    def __init__(self, path: str, wanted: ListFormat, root: str | None) -> None:
        self._path, self._wanted = path, wanted
        self._root = None if root is None else Location.resolve(root).url

    def rows(self, told: LeftOut) -> Iterator[ListedRow]:
        """Yield the files; those that can't be transferred are added to ``told``."""
        reader = ListReader(_refuse_url, self._wanted)
        namings: dict[str, Naming] = {}
        for listed in reader.read(self._path):
            root = self._root or self._root_of(listed, reader.last_format)
            naming = namings.get(root)
            if naming is None:
                naming = namings[root] = Naming(root, reader.last_format)
            path, why = naming.path_of(listed)
            if path is None:
                told.add(why=why, name=os.fsdecode(listed.name))
            elif path:
                yield ListedRow(join(root, path), path, listed.size, listed.mtime_ns)

    def _root_of(self, listed: ListedFile, form: str) -> str:
        if listed.bucket is not None:
            return f"s3://{listed.bucket}"
        if form == "aws-ls":
            raise LayoutError(
                f"{quote(self._path)}: 'aws s3 ls' doesn't print the bucket. Give it: "
                "--set root=s3://BUCKET"
            )
        return os.path.dirname(self._path)


def _refuse_url(url: str) -> Store:
    raise UsageError(
        f"expected the list of the layout 'manifest' on this machine; found {quote(url)}. "
        "Copy it here."
    )
