"""Files of this machine: a path or ``file://``.

Files are written under a temporary name beside the target, read back, given their time and renamed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    SourceChangedError,
    SourceError,
    StoreError,
    StoreUnavailableError,
)
from jobtool.names import quote
from jobtool.stores.store import (
    READ_BYTES,
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Kind,
    Part,
    Proof,
    Special,
    SpecialKind,
    Upload,
    check_path,
    require_same,
)

# Marks of names in a listing: neither byte can be in a name.
_FOLDER, _LINK = b"/", b"\0"
_MARKS = _FOLDER + _LINK

LinkPolicy = Literal["follow", "skip", "error", "keep"]

#: Temporary files are named by this, a tag of their owner, something random, and ".part".
TEMPORARY_PREFIX = ".jobtool-"
_TEMPORARY_NAME = re.compile(r"\.jobtool-([0-9a-f]{12})-[0-9a-f]{16}\.part")

_WORLD = {
    errno.EACCES: "check its owner and mode",
    errno.EPERM: "check its owner, mode and attributes",
    errno.EROFS: "mount it writable",
    errno.ENOSPC: "free space on it",
    errno.EDQUOT: "free space in the quota",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.ENOENT: "is its filesystem mounted?",
    errno.ENODEV: "is its filesystem mounted?",
    errno.ESTALE: "is its server up?",
}
_CREATE = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_THIS_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.EFBIG)


def owner_tag(owner: str) -> str:
    """Return what stands for an owner in the names of temporary files."""
    return hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]


class LocalStore:
    """A folder of this machine's filesystems.

    ``owner`` marks temporary files, so that only their owner removes them. ``links`` says what
    listing does with symbolic links: ``follow`` them inside the root (one that dangles, loops or
    leads out is an error), ``skip`` them, take any for an ``error``, or ``keep`` them as links.
    With ``read_back`` what was written is read from its medium to be proven, else from memory if it
    is still there.
    """

    capabilities = Capabilities(
        attributes_first=False,
        cheap_reads=True,
        leaves_temporaries=True,
        specials=frozenset({"empty-folder", "link"}),
    )

    def __init__(
        self,
        root: str,
        *,
        owner: str = "",
        links: LinkPolicy = "follow",
        read_back: bool = False,
    ) -> None:
        self._read_back = read_back
        self._temporary_prefix = f"{TEMPORARY_PREFIX}{owner_tag(owner)}-"
        self._links = links
        self.url = os.path.abspath(root)
        self._inside = self.url.rstrip("/") + "/"
        self._known_folders: set[str] = set()
        self._devices: dict[int, str] = {}  # a folder we wrote to, for each filesystem
        self._writes = count()  # each write gets a number when it is over
        self._last_write = self._last_synced = -1

    def url_of(self, path: str) -> str:
        """Return the absolute path of ``path``."""
        return self._inside + path if path else self.url

    def kind(self, path: str) -> Kind:
        """Tell what is at ``path``, following links."""
        try:
            mode = os.stat(self.url_of(path)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        except OSError as error:
            raise _source_error(error, self.url_of(path)) from None
        return "folder" if stat.S_ISDIR(mode) else "file"

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside ``path``."""
        for entry in sorted(self._scan(self.url_of(path)), key=lambda entry: entry.name):
            yield Child(entry.name, _is_folder(entry), entry.is_symlink())

    def list(self) -> Iterator[Entry | Special]:
        """Yield everything below the root; links by policy."""
        # Depth first with a stack of its own: a tree may be deeper than Python's calls may nest.
        stack = [("", iter(self._marked_names("")))]
        while stack:
            prefix, names = stack[-1]
            marked = next(names, None)
            if marked is None:
                stack.pop()
                continue
            path = prefix + os.fsdecode(marked.rstrip(_MARKS))
            is_folder = _FOLDER in marked
            if marked.endswith(_LINK):
                special = self._judge_link(path, is_folder=is_folder)
                if special is not None:
                    yield special
                    continue
            if is_folder:
                below = self._marked_names(path)
                if below:
                    stack.append((path + "/", iter(below)))
                else:
                    yield Special(path, "empty-folder")
            else:
                yield self._entry_or_special(path)

    def _marked_names(self, path: str) -> Sequence[bytes]:
        """Return the names in a folder in order, folders and links marked at their ends.

        A folder sorts as if its name ended in a slash, so that whole paths come in order. A million
        names take a fifth of what as many directory entries would.
        """
        folder = self.url_of(path)
        try:
            with os.scandir(os.fsencode(folder)) as entries:
                return sorted(
                    entry.name
                    + (_FOLDER if _is_folder(entry) else b"")
                    + (_LINK if entry.is_symlink() else b"")
                    for entry in entries
                )
        except OSError as error:
            raise _source_error(error, folder) from None

    def _scan(self, folder: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return tuple(entries)
        except OSError as error:
            raise _source_error(error, folder) from None

    def _judge_link(self, path: str, *, is_folder: bool) -> Special | None:
        """Return what a link is listed as, None to follow it; raises ``SourceError``."""
        full = self.url_of(path)
        target = os.readlink(full)
        if self._links in ("skip", "keep"):
            return Special(path, "link", target)
        shown = f"{quote(full)} is a link to {quote(target)}"
        hint = "Remove it, or use --links skip or --links keep."
        if self._links == "error":
            raise SourceError(f"{shown}, and --links error was asked for. {hint}")
        try:
            real = os.path.realpath(full, strict=True)
        except OSError as error:
            raise SourceError(f"{shown}: {error.strerror}. {hint}") from None
        if not (real + "/").startswith(os.path.realpath(self.url).rstrip("/") + "/"):
            raise SourceError(f"{shown}, which is outside {quote(self.url)}. {hint}")
        if is_folder:
            self._refuse_loop(path)
        return None

    def _entry_or_special(self, path: str) -> Entry | Special:
        full = self.url_of(path)
        try:
            found = os.stat(full)
        except OSError as error:
            raise _source_error(error, full) from None
        if stat.S_ISREG(found.st_mode):
            return Entry(path, found.st_size, found.st_mtime_ns)
        return Special(path, _special_kind(found.st_mode))

    def _refuse_loop(self, path: str) -> None:
        here = _identity(self.url_of(path))
        parts = path.split("/")[:-1]
        above = ("/".join(parts[:depth]) for depth in range(len(parts) + 1))
        if any(_identity(self.url_of(folder)) == here for folder in above):
            shown = quote(self.url_of(path))
            raise SourceError(f"{shown} is a link to a folder above itself: it loops")

    def head(self, path: str) -> Entry:
        """Return one file's entry, following links."""
        full = self.url_of(path)
        try:
            found = os.stat(full)
        except OSError as error:
            if os.path.islink(full):
                target = quote(os.readlink(full))
                raise NotFoundError(f"{quote(full)} is a link to {target}: nothing there") from None
            raise _source_error(error, full) from None
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, socket or pipe"
            raise SourceError(f"expected a regular file at {quote(full)}; found {what}")
        if self._links in ("follow", "error") and os.path.islink(full):
            self._judge_link(path, is_folder=False)
        return Entry(path, found.st_size, found.st_mtime_ns)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file."""
        full = self.url_of(entry.path)
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = _read_range(descriptor, offset, length)
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _source_error(error, full) from None
        if (found.st_size, found.st_mtime_ns) != (entry.size, entry.mtime_ns):
            raise SourceChangedError(
                f"{quote(full)} was changed while it was read: listed with {entry.size} bytes, "
                f"now {found.st_size} bytes, or with another time"
            )
        if len(data) != length:
            raise StoreError(f"{quote(full)}: expected {length} bytes; read {len(data)}")
        mode = stat.S_IMODE(found.st_mode)
        return Content(data=data, attributes=Attributes(mtime_ns=entry.mtime_ns, mode=mode))

    def put(self, path: str, data: bytes | memoryview, attributes: Attributes) -> Proof:
        """Write a whole file; one descriptor for writing, reading back and setting the time."""
        target = self.url_of(check_path(path))
        temporary = self._temporary(target)
        with self._writing(target, temporary=temporary):
            descriptor = self._create(temporary)
            try:
                _write_range(descriptor, data, 0)
                if self._read_back:
                    _forget_cached(descriptor)
                digest = hashlib.md5(_read_range(descriptor, 0, len(data)), usedforsecurity=False)
                require_same(target, sent=attributes.md5, found=digest.hexdigest())
                _set_attributes(descriptor, attributes)
            finally:
                os.close(descriptor)
            self._publish(temporary, target, attributes)
        return Proof(md5=digest.hexdigest(), verified_by="read-back")

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts: an empty temporary file beside the target."""
        target = self.url_of(check_path(path))
        temporary = self._temporary(target)
        with self._writing(target):
            os.close(self._create(temporary))
        return Upload(path=path, token=temporary, attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part at its offset in the temporary file."""
        self._require_temporary(upload)
        with self._writing(self.url_of(upload.path)):
            descriptor = os.open(upload.token, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._devices.setdefault(os.fstat(descriptor).st_dev, os.path.dirname(upload.token))
                _write_range(descriptor, data, offset)
            finally:
                os.close(descriptor)
        return Part(number=number, offset=offset, size=len(data), md5=md5)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Read the temporary file back and rename it to its target."""
        self._require_temporary(upload)
        target = self.url_of(upload.path)
        with self._writing(target, temporary=upload.token, keep_on_failure=True):
            found = _digest(upload.token, from_medium=self._read_back)
            require_same(target, sent=attributes.md5, found=found)
            _set_attributes(upload.token, attributes)
            self._publish(upload.token, target, attributes)
        return Proof(md5=found, verified_by="read-back")

    def _publish(self, temporary: str, target: str, attributes: Attributes) -> None:
        if attributes.may_replace:
            os.rename(temporary, target)
            return
        try:
            os.link(temporary, target)  # unlike a rename it never replaces
        except FileExistsError:
            raise FileError(f"{quote(target)} exists already, and is not to be replaced") from None
        finally:
            os.unlink(temporary)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that the temporary file holds, by reading them again."""
        self._require_temporary(upload)
        try:
            descriptor = os.open(upload.token, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return [part for part in parts if _range_md5(descriptor, part) == part.md5]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _source_error(error, upload.token) from None

    def abort(self, upload: Upload) -> None:
        """Remove the temporary file; a token that names none of ours is left alone."""
        if not self._is_temporary_of(upload):
            return
        with self._writing(upload.token), contextlib.suppress(FileNotFoundError):
            os.unlink(upload.token)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the owner's temporary files in the folder of ``path``, whatever their target."""
        folder = os.path.dirname(self.url_of(check_path(path)))
        try:
            entries = [entry for entry in self._scan(folder) if self._is_ours(entry.name)]
        except NotFoundError:
            return ()
        return [
            Upload(path=path, token=entry.path, attributes=Attributes(mtime_ns=0))
            for entry in entries
        ]

    def _is_ours(self, name: str) -> bool:
        match = _TEMPORARY_NAME.fullmatch(name)
        return match is not None and name.startswith(self._temporary_prefix)

    def _is_temporary_of(self, upload: Upload) -> bool:
        # A journal is a file that somebody may have edited: only what can be ours is touched.
        folder, name = os.path.split(upload.token)
        return folder == os.path.dirname(self.url_of(upload.path)) and self._is_ours(name)

    def _require_temporary(self, upload: Upload) -> None:
        if not self._is_temporary_of(upload):
            raise NotFoundError(f"{quote(upload.token)} is no unfinished upload of this job")

    def is_leftover(self, path: str) -> bool:
        """Tell by its name whether a file is a temporary one of this owner."""
        return self._is_ours(os.path.basename(path))

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove a file by reading it."""
        try:
            if self.digest(path) != md5:
                return None
        except NotFoundError:
            return None
        if attributes is not None:
            with contextlib.suppress(OSError):  # somebody else's file keeps its own
                _set_attributes(self.url_of(path), attributes)
        return Proof(md5=md5, verified_by="read-back")

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        full = self.url_of(check_path(special.path))
        with self._writing(full):
            if special.what == "empty-folder":
                self._make_folder(full)
            elif special.what == "link" and special.target is not None:
                self._make_folder(os.path.dirname(full))
                if os.path.islink(full):
                    if os.readlink(full) == special.target:
                        return
                    os.unlink(full)
                elif os.path.lexists(full):
                    raise FileError(f"can't make a link at {quote(full)}: something stands there")
                os.symlink(special.target, full)
            else:
                raise FileError(f"{quote(full)}: can't make a {special.what}")

    def digest(self, path: str) -> str:
        """Read a file and return its MD5."""
        full = self.url_of(path)
        try:
            return _digest(full, from_medium=True)
        except OSError as error:
            raise _source_error(error, full) from None

    def delete(self, path: str) -> None:
        """Remove a file."""
        full = self.url_of(check_path(path))
        with self._writing(full), contextlib.suppress(FileNotFoundError):
            os.unlink(full)

    def sync(self) -> None:
        """Bring the filesystems that were written to their media: one call for all files.

        Does nothing if nothing was written since the last.
        """
        last_write = self._last_write
        if last_write == self._last_synced:
            return
        for folder in tuple(self._devices.values()):
            try:
                descriptor = os.open(_existing(folder), os.O_RDONLY)
                try:
                    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number), folder)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise self._destination_error(error, folder) from None
        self._last_synced = last_write

    def _temporary(self, target: str) -> str:
        name = f"{self._temporary_prefix}{secrets.token_hex(8)}.part"
        return os.path.join(os.path.dirname(target), name)

    def _create(self, path: str) -> int:
        folder = os.path.dirname(path)
        self._make_folder(folder)
        try:
            return os.open(path, os.O_RDWR | _CREATE, 0o666)
        except FileNotFoundError:  # somebody has removed the folder that we made
            self._known_folders.discard(folder)
            self._make_folder(folder)
            return os.open(path, os.O_RDWR | _CREATE, 0o666)

    def _make_folder(self, folder: str) -> None:
        if folder not in self._known_folders:
            os.makedirs(folder, exist_ok=True)
            self._devices.setdefault(os.stat(folder).st_dev, folder)
            if len(self._known_folders) > 100_000:
                self._known_folders.clear()
            self._known_folders.add(folder)

    @contextlib.contextmanager
    def _writing(
        self, target: str, *, temporary: str | None = None, keep_on_failure: bool = False
    ) -> Iterator[None]:
        """Turn what the system says into our errors, and remove a temporary file that is no good.

        With ``keep_on_failure`` it is removed only if it holds the wrong bytes.
        """
        try:
            yield
        except (OSError, DigestMismatchError) as error:
            is_wrong = isinstance(error, DigestMismatchError)
            if temporary is not None and (is_wrong or not keep_on_failure):
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            if isinstance(error, OSError):
                # Somebody may have removed a folder that we made.
                self._known_folders.clear()
                raise self._destination_error(error, target) from None
            raise
        finally:
            self._last_write = next(self._writes)

    def _destination_error(self, error: OSError, target: str) -> JobtoolError:
        reason = error.strerror or str(error)
        is_in_the_way = error.errno in (errno.EEXIST, errno.ENOTDIR) and os.path.isdir(self.url)
        hint = _WORLD.get(error.errno or 0)
        if is_in_the_way:
            return FileError(f"can't write {quote(target)}: {reason} ({hint})")
        if error.errno in _THIS_FILE:
            return FileError(f"can't write {quote(target)}: {reason}")
        if hint is not None:
            where = quote(error.filename if isinstance(error.filename, str) else target)
            return StoreUnavailableError(f"can't write to {where}: {reason} ({hint})")
        return StoreError(f"can't write {quote(target)}: {reason}")


def _write_range(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def _read_range(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while 0 < len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _digest(path: str, *, from_medium: bool = False) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if from_medium:
            _forget_cached(descriptor)
        while data := os.read(descriptor, READ_BYTES):
            digest.update(data)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _forget_cached(descriptor: int) -> None:
    """Make the next reads come from the medium: write back what is dirty, then drop the pages."""
    with contextlib.suppress(OSError):  # a file on a read-only filesystem has nothing dirty
        os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _is_folder(entry: os.DirEntry[str] | os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _special_kind(mode: int) -> SpecialKind:
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def _set_attributes(file: int | str, attributes: Attributes) -> None:
    if attributes.mode is not None:
        os.chmod(file, attributes.mode & 0o777)
    os.utime(file, ns=(attributes.mtime_ns, attributes.mtime_ns))


def _range_md5(descriptor: int, part: Part) -> str:
    data = _read_range(descriptor, part.offset, part.size)
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _identity(folder: str) -> tuple[int, int]:
    try:
        found = os.stat(folder)
    except OSError as error:
        raise _source_error(error, folder) from None
    return found.st_dev, found.st_ino


def _source_error(error: OSError, path: str) -> JobtoolError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError(f"expected something at {quote(path)}; found nothing")
    if error.errno in (errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR):
        return StoreError(f"can't read {quote(path)}: {reason}")
    return SourceError(f"can't read {quote(path)}: {reason}")


def _existing(folder: str) -> str:
    while folder != "/" and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
