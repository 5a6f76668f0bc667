"""Locations: the grammar of paths and URLs, and their relations.

A location is an absolute path of this machine, ``file:///PATH``, or a URL ``SCHEME://NAME/PATH``.
A URL ``package+SCHEME://…/NAME.tar/PATH`` is a location inside a file of another store.
An installed package must have a store for the scheme (``storetype``), and may refuse more. A path
below a store's root has parts joined by ``/``. No part is empty, ``.`` or ``..``, or holds NUL. S3
allows such keys, but no filesystem can hold them, and a key without the odd part is another object.
So nothing is rewritten: a path that can't be transferred is refused by name. Two forms are
accepted, since they can't name another location: one slash at the end of a URL, and repeated
slashes and ``.`` parts in a path of this machine (POSIX, 4.13 "Pathname Resolution").

A ``Location`` has been checked. Path arithmetic for each of a million files is done by functions on
text, since a ``Location`` costs many times as much. Apart from ``file_below`` they check nothing.
"""

from __future__ import annotations

import os
import re
from functools import cache
from urllib.parse import unquote as percent_decode

import msgspec

from jobtool.errors import FileError, UsageError
from jobtool.names import quote
from jobtool.plugins import STORES, names
from jobtool.stores.spelling import (
    did_you_mean_url,
    is_familiar,
    meant_by,
    split_at_colon,
    suggestion,
)
from jobtool.stores.storetype import StoreType, store_type

#: The scheme of this machine's paths.
LOCAL = "file"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_NO_ODD_PARTS = "without empty parts, '.' or '..'"


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A location: ``root`` is the widest store that holds it, ``path`` is relative to that.

    The root is ``/`` or ``SCHEME://NAME``, or the URL of a file whose members are a store. The path
    is empty for the root itself.
    """

    scheme: str
    root: str
    path: str

    @classmethod
    def parse(cls, url: str) -> Location:
        """Parse an absolute path or URL of a job file, table or setting.

        Raises ``UsageError`` if it isn't a location, or is one that can't be transferred.
        """
        match = _URL.fullmatch(url)
        if match is None:
            if not url.startswith("/"):
                hint = suggestion(*split_at_colon(url)) if is_familiar(url) else ""
                raise UsageError(f"{quote(url)}: expected an absolute path or a URL{hint}")
            return cls(scheme=LOCAL, root="/", path=_local_path(url, url))
        scheme, rest = match.group(1).lower(), match.group(2)
        if scheme == LOCAL:
            if not rest.startswith("/"):
                raise UsageError(
                    f"{quote(url)}: expected an absolute path after file://, as in "
                    f"file:///{_after_host(rest)}; found the host {quote(rest.partition('/')[0])}"
                )
            decoded = percent_decode(rest, errors="surrogateescape")
            return cls(scheme=LOCAL, root="/", path=_local_path(decoded, url))
        kind = store_type(scheme)
        if kind is None:
            known = names(STORES)
            raise UsageError(
                f"{quote(url)}: no store has URLs of this kind; found {scheme!r}"
                f"{meant_by(scheme, rest, known)} The schemes here are {', '.join(known)}, and "
                "those of fsspec if that is installed (pip install 'jobtool[fsspec]')."
            )
        if kind.split is not None:
            return _in_file(kind, scheme, rest, url)
        return _in_store(kind, scheme, rest, url)

    @classmethod
    def of_file(cls, url: str) -> Location:
        """Parse a file's absolute path or URL.

        Raises ``FileError`` if it doesn't name a file or can't be transferred.
        """
        try:
            location = cls.parse(url)
        except UsageError as error:
            raise FileError(str(error)) from None
        if not location.path or url.endswith("/"):
            raise FileError(f"{quote(url)}: expected a file's path; found a slash at its end")
        return location

    @classmethod
    def resolve(cls, text: str, *, follow_links: bool = True) -> Location:
        """Parse a path or URL that the user typed. Relative paths start at the working directory.

        A path may hold ``~`` and ``..``. Its links are followed. Without ``follow_links`` they are
        kept, and ``..`` removes the part before it. Raises ``UsageError`` for an empty text, and
        for text that looks like a URL but isn't one: ``s3//bucket``, or a first part with a colon
        unless a file or folder of that name exists.
        """
        if not text.strip():
            raise UsageError("expected a path or URL; found an empty one")
        if _URL.fullmatch(text) is None:
            scheme, rest = split_at_colon(text)
            if scheme and (is_familiar(text) or not os.path.lexists(text.partition("/")[0])):
                raise UsageError(
                    f"{quote(text)}: it looks like a URL, but it isn't one"
                    f"{suggestion(scheme, rest)} "
                    f"For a file or folder of that name write {quote('./' + text)}."
                )
            path = os.path.expanduser(text)
        else:
            location = cls.parse(_as_jobtool_writes(text))
            if not location.is_local:
                return location
            path = location.url
        try:
            return cls.parse(os.path.realpath(path) if follow_links else os.path.abspath(path))
        except ValueError:
            raise UsageError(f"{quote(text)}: expected a path without NUL") from None

    @property
    def url(self) -> str:
        """The location as text: an absolute path or a URL, without a slash at its end."""
        return join(self.root, self.path) if self.path else self.root

    @property
    def name(self) -> str:
        """The part after ``://``, such as a bucket's name; empty for paths."""
        return self.root.partition("://")[2]

    @property
    def is_local(self) -> bool:
        """Whether the location is in one of this machine's filesystems."""
        return self.scheme == LOCAL


def file_below(root: str | None, path: str) -> str:
    """Return the location of a file named by a table or layout, below ``root`` if relative.

    Raises ``FileError`` for a path that can't be transferred, or a relative one without a root.
    """
    if is_absolute(path):
        try:
            return Location.of_file(_as_jobtool_writes(path)).url
        except UsageError as error:
            raise FileError(str(error)) from None
    if is_familiar(path):
        raise FileError(
            f"{quote(path)}: it looks like a URL, but it isn't one"
            f"{suggestion(*split_at_colon(path))} For a file of that name write its whole path."
        )
    reason = unfit_reason(path)
    if reason is not None:
        raise FileError(f"{quote(path)}: expected a path {_NO_ODD_PARTS}; found {reason}")
    if root is None:
        raise FileError(f"{quote(path)} is relative. Give its base with --destination URL.")
    return join(root, path)


def unfit_reason(path: str) -> str | None:
    """Return why a path below a store's root can't be transferred, or None if it can."""
    if not path:
        return "nothing"
    if "\0" in path:
        return "NUL"
    if path.startswith("/"):
        return "a slash at its beginning"
    if "//" in path:
        return "an empty part ('//')"
    if path.startswith(".") or "/." in path:
        parts = path.split("/")
        for dots in ("..", "."):
            if dots in parts:
                return f"a part {dots!r}"
    return "a slash at its end" if path.endswith("/") else None


def is_absolute(path: str) -> bool:
    """Return True for an absolute path and for a URL of any scheme."""
    return path.startswith("/") or _URL.fullmatch(path) is not None


def scheme_of(url: str) -> str:
    """Return a location's scheme in lower case, ``file`` for a path. The rest isn't checked."""
    return _written_scheme(url) or LOCAL


def is_local(url: str) -> bool:
    """Return True if a location is in one of this machine's filesystems. It isn't checked."""
    return scheme_of(url) == LOCAL


@cache
def _type_here(scheme: str) -> StoreType | None:
    try:
        return store_type(scheme)
    except UsageError:
        return None


def type_of(url: str) -> StoreType | None:
    """Return the store type of a location, or None if no package here has it or it can't be loaded.

    It is loaded once for each scheme.
    """
    return _type_here(scheme_of(url))


def in_lower_case(url: str) -> str:
    """Return a path or URL with its scheme in lower case. The rest is unchanged and unchecked."""
    scheme = _written_scheme(url)
    return scheme + url[len(scheme) :]


def join(root: str, path: str) -> str:
    """Return the location of ``path`` below ``root``, which may end in a slash."""
    return f"{root.rstrip('/')}/{path}"


def absolute(root: str | None, path: str) -> str:
    """Return the location of a path: the path itself if absolute, else below ``root``.

    See ``file_below`` for a path that must be checked.
    """
    return path if root is None or is_absolute(path) else join(root, path)


def inside(root: str, url: str) -> str | None:
    """Return the path of a location below ``root``: empty for the root, None if not below it."""
    if url == root:
        return ""
    start = join(root, "")
    return url[len(start) :] if url.startswith(start) else None


def parent_of(url: str) -> tuple[str, str]:
    """Split a path or URL into its folder and its last name.

    A root such as a bucket isn't in a folder. It is returned with an empty name.
    """
    scheme = _written_scheme(url)
    if scheme == LOCAL:
        return parent_of(Location.parse(url).url)
    if "+" in scheme and Location.parse(url).path == "":
        return url, ""
    start = url[: len(scheme) + len("://")] if scheme else ""
    path = url[len(start) :].rstrip("/")
    folder, slash, name = path.rpartition("/")
    if not slash:
        return start + path or "/", ""
    return start + (folder or "/"), name


def _as_jobtool_writes(text: str) -> str:
    """Return the URL that a person means by a text (``StoreType.as_typed``). Raises as that."""
    kind = type_of(text)
    if kind is not None and kind.split is not None:
        outer, plus, other = text.partition("+")
        return outer + plus + (other if is_local(other) else _as_jobtool_writes(other))
    return text if kind is None or kind.as_typed is None else kind.as_typed(in_lower_case(text))


def _written_scheme(url: str) -> str:
    """Return a URL's scheme in lower case; empty for a path."""
    if url.startswith("/"):  # most are, and a regular expression takes longer
        return ""
    match = _URL.fullmatch(url)
    return "" if match is None else match.group(1).lower()


def _local_path(path: str, url: str) -> str:
    if "\0" in path:
        raise UsageError(f"{quote(url)}: expected a path without NUL")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        # What it means depends on links, which may change.
        raise UsageError(
            f"{quote(url)}: expected a path {_NO_ODD_PARTS}; found a part '..'"
            f"{did_you_mean_url('/' + '/'.join(_resolved(parts)))}"
        )
    return "/".join(parts)


def _in_store(kind: StoreType, scheme: str, rest: str, url: str) -> Location:
    name, _, path = rest.partition("/")
    root = f"{scheme}://{name}"
    if not name:
        likely = "/".join(part for part in rest.split("/") if part)
        raise UsageError(
            f"{quote(url)}: expected a {kind.root} after '{scheme}://', as in {scheme}://bucket/x; "
            f"found nothing{did_you_mean_url(f'{scheme}://{likely}') if likely else ''}"
        )
    if not re.fullmatch(kind.name, name):
        owner = kind.root if kind.root != "name" else scheme
        raise UsageError(
            f"{quote(url)}: expected a {owner}'s name ({kind.name_shown}); found {quote(name)}"
        )
    if kind.check is not None:
        kind.check(Location(scheme=scheme, root=root, path=path), url)
    if not rest.endswith("//"):
        path = path.removesuffix("/")
    reason = unfit_reason(path) if path else None
    if reason is not None:
        cleaned = join(root, "/".join(_resolved(path.split("/")))).rstrip("/")
        raise UsageError(
            f"{quote(url)}: expected a path {_NO_ODD_PARTS}; found {reason}. Such keys can't be "
            f"transferred{did_you_mean_url(cleaned)}"
        )
    return Location(scheme=scheme, root=root, path=path)


def _in_file(kind: StoreType, scheme: str, rest: str, url: str) -> Location:
    """Parse a location inside a file. Unlike after ``file://``, nothing is percent-encoded."""
    outer, plus, other = scheme.partition("+")
    if other != LOCAL:
        around = Location.parse(f"{other}://{rest}")
        start, path = around.root, around.path
    elif rest.startswith("/"):
        start, path = f"{LOCAL}://", _local_path(rest, url)
    else:
        raise UsageError(f"{quote(url)}: expected an absolute path after {scheme}://")
    found = None if kind.split is None else kind.split(path)
    if found is None:
        shown = kind.file_shown
        raise UsageError(f"{quote(url)}: expected a part {shown}, as in {scheme}://…/{shown}")
    return Location(scheme=scheme, root=f"{outer}{plus}{start}/{found[0]}", path=found[1])


def _resolved(parts: list[str]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in ("", ".", "\0"):
            kept.append(part.replace("\0", ""))
    return kept


def _after_host(rest: str) -> str:
    return rest.partition("/")[2] or "PATH"
