"""The page docs/reference/stores.md: what each store has, from the classes of the stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

from jobtool.stores.optional import (
    PROTOCOLS,
    AccessCheck,
    ComparesInside,
    CopiesInside,
    DeletesSame,
    FolderAttributes,
    KnowsMd5s,
    Multipart,
    Prover,
    Prunes,
    ReadsTogether,
    Specials,
    TakesFiles,
    Temporaries,
    WritesTogether,
)
from jobtool.stores.storetype import StoreType, store_type

INTRODUCTION = """\
<!-- Written by docs/generate_reference.py from the code. Don't edit it by hand. -->

# Stores

A URL's scheme chooses the store. A store whose extra isn't installed says which command installs
it; `pip install 'jobtool[all]'` installs them all.

"""

#: The schemes of each store, its class, and the page about it.
STORES: Sequence[tuple[Sequence[str], str, str]] = (
    (["file"], "local.store:LocalStore", "paths.md"),
    (["s3"], "s3.store:S3Store", "../how-to/s3-servers.md"),
    (["az", "abfs", "abfss"], "azure.store:AzureStore", "../how-to/azure.md"),
    (["gs", "gcs"], "gcs.store:GcsStore", "../how-to/google.md"),
    (["hdfs"], "hdfs.store:HdfsStore", "../how-to/hdfs.md"),
    (["webhdfs", "swebhdfs"], "hdfs.store:HdfsStore", "../how-to/hdfs.md"),
    (["sftp"], "sftp.store:SftpStore", "../how-to/sftp.md"),
    (["http", "https"], "http.store:HttpStore", "../how-to/web.md"),
    (["ftp", "ftps"], "ftp.store:FtpStore", "../how-to/web.md"),
    (["zip"], "anyfs.store:FsspecStore", "../how-to/fsspec.md"),
    (
        ["fsspec"],
        "anyfs.store:FsspecStore",
        "../how-to/fsspec.md#dictionaries-and-objects-in-python",
    ),
    (
        ["package+file", "package+s3"],
        "jobtool.packages.memberstore:MemberStore",
        "../how-to/packages-reading.md#members-as-the-source-of-a-transfer",
    ),
)

#: The columns of the table, by the protocols that a store has.
COLUMNS: Sequence[tuple[str, type]] = (
    ("parts, resumed", Multipart),
    ("reads many small files at a time", ReadsTogether),
    ("writes many small files at a time", WritesTogether),
    ("unfinished files are marked", Temporaries),
    ("takes files of programs", TakesFiles),
    ("proves without reading", Prover),
    ("leaves folders unopened", Prunes),
    ("empty folders, links", Specials),
    ("attributes of folders", FolderAttributes),
    ("checks access itself", AccessCheck),
    ("copies inside its service", CopiesInside),
    ("compares inside its service", ComparesInside),
    ("knows MD5s before reading", KnowsMd5s),
    ("deletes only what was seen", DeletesSame),
)

NOTES = """
- **parts, resumed**: a large file is sent in parts, and another worker sends only those that are
  missing. Without it each try sends a large file from its beginning.
- **reads many small files at a time**, **writes many small files at a time**: small files are read,
  or written, proven and given their names, many by one call. Without it they go one by one.
- **unfinished files are marked**: what a killed worker leaves lies beside the other files, with a
  mark by which `jobtool clean` and later workers know it. Elsewhere the service keeps it apart.
- **takes files of programs**: the methods [rsync and scp](../how-to/ssh-programs.md),
  [bbcp](../how-to/bbcp.md) and [hdfs-get](../how-to/hadoop.md) can write there: into a hidden
  folder, from which the store moves each file once it is complete.
- **proves without reading**: the store compares a digest that the service holds or computes. See
  [how each proof works](receipts.md#how-each-proof-works).
- **leaves folders unopened**: a folder that [filters](../how-to/select.md) leave out isn't listed.
- **empty folders, links**: the store can hold at least one of the two.
- **attributes of folders**: times and modes of folders are kept.
- **checks access itself**: a refusal for one file is told from one for all without another file.
- **copies inside its service**: with the [method](transfers.md#methods) `server-side`, no byte
  passes through the worker if one service has both source and destination. HDFS has no such copy:
  `hdfs dfs -cp` reads and writes all bytes, too.
- **knows MD5s before reading**: what is read must have the MD5 that the package's index has, or
  the file doesn't get its name at the destination. `package+` stands before the URL of a package
  in any store.
- **deletes only what was seen**: [`jobtool release`](../how-to/release.md) removes an object only
  while it is the one that was looked at.

Any other scheme that fsspec knows, such as `smb://` with smbprotocol, has [what fsspec
has](../how-to/fsspec.md): files are sent whole and read back, in both directions where its
filesystem can write. Packages add [stores of their own](../writing-a-store.md).
"""


def has(store: type, protocol: type) -> bool:
    """Return True if a class has all methods of a protocol's own."""
    return all(hasattr(store, name) for name in vars(protocol) if not name.startswith("_"))


def stores_page() -> str:
    """Return the whole page."""
    assert {protocol for _, protocol in COLUMNS} == set(PROTOCOLS)
    return INTRODUCTION + "\n".join(_rows()) + "\n" + NOTES


def _rows() -> Iterator[str]:
    headings = ("URLs", "extra", "as", *(heading for heading, _ in COLUMNS))
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for schemes, place, page in STORES:
        module, name = place.split(":")
        if not module.startswith("jobtool."):
            module = f"jobtool.stores.{module}"
        store = getattr(import_module(module), name)
        kind = store_type(schemes[0])
        assert kind is not None, schemes
        yield f"| {' | '.join(_cells(schemes, kind, store, page))} |"


def _cells(schemes: Sequence[str], kind: StoreType, store: type, page: str) -> Iterator[str]:
    yield f"[{', '.join(f'`{scheme}://`' for scheme in schemes)}]({page})"
    yield f"`{kind.extra}`" if kind.extra else ""
    yield "source" if kind.source_only else "source, destination"
    yield from ("yes" if has(store, protocol) else "" for _, protocol in COLUMNS)
