"""Which calls of distcp bring files to their places, and the lists that each gets.

distcp knows two ways from sources to targets. Files that are listed by name (``-f``) go under the
same names into one folder. A folder's content goes to a folder, with all that is below, unless
``-filters`` excludes it. So the files of one folder are listed. Files of many folders are brought
by one call, too: it walks the folder that all are below, and a filter excludes all but them.

Sources: Hadoop, "DistCp Guide"; classes ``GlobbedCopyListing``, ``SimpleCopyListing`` and
``RegexCopyFilter``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from jobtool.methods.hadoop.places import escape, hadoop_url, is_whole_cluster
from jobtool.methods.method import MethodFile
from jobtool.stores.store import Child, Store


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one call of distcp.

    ``folder`` is that of the sources, ``target`` the one at the destination, both relative to the
    stores' roots. If ``is_walked``, the sources may be in folders below ``folder``. For one file
    that isn't walked to, the target is the file itself.
    """

    folder: str
    target: str
    files: Sequence[MethodFile]
    is_walked: bool

    @property
    def temporary_folder(self) -> str:
        """The folder of the destination in which distcp makes its temporary files."""
        return _folder_of(self.target) if self.is_single else self.target

    @property
    def is_single(self) -> bool:
        """Whether the target is a file."""
        return len(self.files) == 1 and not self.is_walked


def calls(source: Store, files: Sequence[MethodFile]) -> tuple[list[Call], list[MethodFile]]:
    """Return the calls for files, and the files whose names differ, which distcp can't bring."""
    groups: dict[tuple[str, str], list[MethodFile]] = defaultdict(list)
    renamed = []
    for file in files:
        pair = _heads(file.source_path, file.destination_path)
        if pair is None:
            renamed.append(file)
        else:
            groups[pair].append(file)
    made: list[Call] = []
    for (head, target_head), members in groups.items():
        folder = _common_folder(members)
        rest = folder[len(head) :].strip("/")
        target = _join(target_head, rest)
        is_in_one = all(_folder_of(file.source_path) == folder for file in members)
        if is_in_one or (not folder and is_whole_cluster(source)):
            made += _listed(members)
        else:
            made.append(Call(folder=folder, target=target, files=members, is_walked=True))
    return made, renamed


def _listed(files: Sequence[MethodFile]) -> Iterator[Call]:
    """Yield a call for each pair of folders."""
    folders: dict[tuple[str, str], list[MethodFile]] = defaultdict(list)
    for file in files:
        folders[_folder_of(file.source_path), _folder_of(file.destination_path)].append(file)
    for (folder, target), members in folders.items():
        is_single = len(members) == 1
        yield Call(
            folder=folder,
            target=members[0].destination_path if is_single else target,
            files=members,
            is_walked=False,
        )


def still_there(source: Store, call: Call) -> Call:
    """Return a call of listed files without those that are gone: distcp fails if one is."""
    if call.is_walked or call.is_single:
        return call
    names = {child.name for child in source.children(call.folder) if isinstance(child, Child)}
    kept = [file for file in call.files if file.source_path.rpartition("/")[2] in names]
    if len(kept) == 1:
        return msgspec.structs.replace(call, files=kept, target=kept[0].destination_path)
    return msgspec.structs.replace(call, files=kept)


def write_lists(source: Store, call: Call, folder: str) -> list[str]:
    """Write the lists of a call into a folder of this machine. Return distcp's options for them."""
    listing = os.path.join(folder, "sources")
    if call.is_walked:
        lines = [escape(hadoop_url(source.url_of(call.folder)))]
        filters = os.path.join(folder, "filters")
        _write(filters, [all_but([_path_in(file.source) for file in call.files])])
        _write(listing, lines)
        return ["-filters", filters, "-f", f"file://{listing}"]
    _write(listing, [escape(hadoop_url(file.source)) for file in call.files])
    return ["-f", f"file://{listing}"]


def _write(path: str, lines: Sequence[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def all_but(paths: Sequence[str]) -> str:
    """Return a regular expression of Java for the URLs of all paths but these.

    Common beginnings are written once. So a path is compared with few others.
    """
    return rf"(?s)(?!\w+://[^/]*{_any_of(sorted(paths), 0)}\z).*"


def _any_of(paths: Sequence[str], start: int) -> str:
    """Return an expression for any of sorted texts, without their first ``start`` characters."""
    first, last = paths[0], paths[-1]
    end = start
    while end < min(len(first), len(last)) and first[end] == last[end]:
        end += 1
    head = _literal(first[start:end])
    if first == last:
        return head
    by_next: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_next[path[end : end + 1]].append(path)
    return head + "(?:" + "|".join(_any_of(each, end) for each in by_next.values()) + ")"


def _literal(text: str) -> str:
    return "".join(
        each if each.isascii() and (each.isalnum() or each in "/_-") else f"\\x{{{ord(each):x}}}"
        for each in text
    )


def _heads(source: str, destination: str) -> tuple[str, str] | None:
    """Return the two paths without their longest common end; None if their names differ."""
    ours, theirs = source.split("/"), destination.split("/")
    if ours[-1] != theirs[-1]:
        return None
    count = 0
    while count < min(len(ours), len(theirs)) and ours[-1 - count] == theirs[-1 - count]:
        count += 1
    return "/".join(ours[: len(ours) - count]), "/".join(theirs[: len(theirs) - count])


def _path_in(url: str) -> str:
    """Return the absolute path in a URL."""
    return "/" + url.partition("://")[2].partition("/")[2]


def _common_folder(files: Sequence[MethodFile]) -> str:
    """Return the deepest folder of the sources that holds all files."""
    folders = {_folder_of(file.source_path) for file in files}
    return "" if "" in folders else os.path.commonpath(folders)


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder and path else folder or path
