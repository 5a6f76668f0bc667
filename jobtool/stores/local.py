"""Files of this machine: a path or ``file://``.

Files are written under a temporary name beside the target, read back, given their time and renamed,
all by a descriptor of their folder, so that no link below the root is ever gone through.
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
from jobtool.stores.beneath import Beneath, LinkInTheWayError
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
    Unlisted,
    Upload,
    check_path,
    require_same,
)

# Marks of names in a listing: neither byte can be in a name.
_FOLDER_MARK, _LINK_MARK = b"/", b"\0"
_MARKS = _FOLDER_MARK + _LINK_MARK

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
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a named pipe would wait for its other end
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_THIS_FILE = (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.EFBIG)


def owner_tag(owner: str) -> str:
    """Return what stands for an owner in the names of temporary files."""
    return hashlib.sha256(owner.encode("utf-8", "surrogateescape")).hexdigest()[:12]


class LocalStore:
    """A folder of this machine's filesystems.

    ``owner`` marks temporary files, so that only their owner removes them. ``links`` says what
    listing does with symbolic links: ``follow`` them inside the root (one that dangles, loops or
    leads out is an error), ``skip`` them, take any for an ``error``, or ``keep`` them as links.
    Whatever has changed since it was listed, what is read lies inside the root, and was reached
    through no link but where links are followed. Nothing is written through a link below the root.
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
        self._beneath = Beneath(self.url)
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

    def check_access(self, *, write: bool) -> None:
        """List the root or, with ``write``, make and remove a file in it.

        A root that isn't there yet would be made in the next folder above that is.
        """
        if not write:
            self._scan(self.url)
            return
        folder = self.url
        while not os.path.lexists(folder) and folder != "/":
            folder = os.path.dirname(folder)
        temporary = os.path.join(folder, self._temporary())
        with self._writing(temporary):
            os.close(os.open(temporary, _CREATE, 0o600))
            os.unlink(temporary)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
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
            is_folder = _FOLDER_MARK in marked
            if marked.endswith(_LINK_MARK):
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
            descriptor = self._open_folder(path)
            try:
                with os.scandir(b"/proc/self/fd/%d" % descriptor) as entries:
                    return sorted(
                        entry.name
                        + (_FOLDER_MARK if _is_folder(entry) else b"")
                        + (_LINK_MARK if entry.is_symlink() else b"")
                        for entry in entries
                    )
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _source_error(error, folder) from None

    def _open_folder(self, path: str) -> int:
        """Open a folder of the tree to be listed."""
        if self._links != "follow":
            return self._beneath.open(path)
        return self._require_inside(os.open(self.url_of(path), _FOLDER), path)

    def _open_file(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file to be read, whatever has become of it and its folders since it was listed."""
        if self._links == "follow":
            flags |= os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = self._require_inside(os.open(self.url_of(path), flags), path)
        else:
            folder, name = os.path.split(path)
            with self._beneath.folder(folder) as held:
                try:
                    descriptor = os.open(name, flags | _OPEN, dir_fd=held)
                except OSError as error:
                    if error.errno == errno.ELOOP:
                        raise _no_file(self.url_of(path), _described(stat.S_IFLNK)) from None
                    raise
        if not flags & os.O_PATH:
            os.set_blocking(descriptor, True)  # a file on tape is to be waited for
        return descriptor

    def _require_inside(self, descriptor: int, path: str) -> int:
        try:
            if self._beneath.holds(descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        raise SourceError(
            f"{quote(self.url_of(path))} leads through a link to what is outside "
            f"{quote(self.url)}. Remove the link, or use --links skip or --links keep."
        )

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
        """Return one file's entry; a link is followed or refused as ``links`` says."""
        full = self.url_of(path)
        try:
            descriptor = self._open_file(path, os.O_PATH)
            try:
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if os.path.islink(full):
                target = quote(os.readlink(full))
                raise NotFoundError(f"{quote(full)} is a link to {target}: nothing there") from None
            raise _source_error(error, full) from None
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(full, _described(found.st_mode))
        return Entry(path, found.st_size, found.st_mtime_ns)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file."""
        full = self.url_of(entry.path)
        try:
            descriptor = self._open_file(entry.path)
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
        target, (folder, name) = self.url_of(check_path(path)), os.path.split(path)
        temporary = self._temporary()
        with (
            self._writing(target),
            self._beneath.folder(folder, make=True) as held,
            self._creating(held, temporary, folder, attributes) as descriptor,
        ):
            _write_range(descriptor, data, 0)
            if self._read_back:
                _forget_cached(descriptor)
            digest = hashlib.md5(_read_range(descriptor, 0, len(data)), usedforsecurity=False)
            require_same(target, sent=attributes.md5, found=digest.hexdigest())
            _set_attributes(descriptor, attributes)
            _publish(held, temporary, name, target, attributes)
        return Proof(md5=digest.hexdigest(), verified_by="read-back")

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts: an empty temporary file beside the target."""
        target, folder = self.url_of(check_path(path)), os.path.dirname(path)
        temporary = self._temporary()
        with (
            self._writing(target),
            self._beneath.folder(folder, make=True) as held,
            self._creating(held, temporary, folder, attributes),
        ):
            pass
        token = os.path.join(os.path.dirname(target), temporary)
        return Upload(path=path, token=token, attributes=attributes)

    @contextlib.contextmanager
    def _creating(
        self, held: int, temporary: str, folder: str, attributes: Attributes
    ) -> Iterator[int]:
        """Create a file and open it for the block's length; remove it if that fails."""
        # What others may not read at the source they may not while it is written, either.
        mode = 0o666 if attributes.mode is None else attributes.mode & 0o666 | 0o600
        descriptor = os.open(temporary, _CREATE, mode, dir_fd=held)
        try:
            self._devices.setdefault(os.fstat(descriptor).st_dev, folder)
            yield descriptor
        except BaseException:
            _remove(held, temporary)
            raise
        finally:
            os.close(descriptor)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Write one part at its offset in the temporary file."""
        target, folder = self.url_of(upload.path), os.path.dirname(upload.path)
        with (
            self._writing(target),
            self._beneath.folder(folder) as held,
            self._temporary_file(upload, held, os.O_WRONLY) as descriptor,
        ):
            self._devices.setdefault(os.fstat(descriptor).st_dev, folder)
            _write_range(descriptor, data, offset)
        return Part(number=number, offset=offset, size=len(data), md5=md5)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Read the temporary file back and rename it to its target."""
        target, (folder, name) = self.url_of(upload.path), os.path.split(upload.path)
        temporary = os.path.basename(upload.token)
        with self._writing(target), self._beneath.folder(folder) as held:
            with self._temporary_file(upload, held, os.O_RDONLY) as descriptor:
                found = _digest(descriptor, from_medium=self._read_back)
                try:
                    require_same(target, sent=attributes.md5, found=found)
                except DigestMismatchError:
                    _remove(held, temporary)
                    raise
                _set_attributes(descriptor, attributes)
            _publish(held, temporary, name, target, attributes)
        return Proof(md5=found, verified_by="read-back")

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that the temporary file holds, by reading them again."""
        try:
            with (
                self._beneath.folder(os.path.dirname(upload.path)) as held,
                self._temporary_file(upload, held, os.O_RDONLY) as descriptor,
            ):
                return [part for part in parts if _range_md5(descriptor, part) == part.md5]
        except OSError as error:
            raise _source_error(error, upload.token) from None

    @contextlib.contextmanager
    def _temporary_file(self, upload: Upload, held: int, flags: int) -> Iterator[int]:
        """Open an upload's temporary file; raises ``NotFoundError`` for what can't be ours."""
        missing = NotFoundError(f"{quote(upload.token)} is no unfinished upload of this job")
        if not self._is_temporary_of(upload):
            raise missing
        descriptor = os.open(os.path.basename(upload.token), flags | _OPEN, dir_fd=held)
        try:
            found = os.fstat(descriptor)
            # Of a file that has a second name somebody has made a trap, or its target is published.
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise missing
            yield descriptor
        finally:
            os.close(descriptor)

    def abort(self, upload: Upload) -> None:
        """Remove the temporary file; a token that names none of ours is left alone."""
        if not self._is_temporary_of(upload):
            return
        with (
            self._writing(upload.token),
            contextlib.suppress(FileNotFoundError, LinkInTheWayError),
            self._beneath.folder(os.path.dirname(upload.path)) as held,
        ):
            os.unlink(os.path.basename(upload.token), dir_fd=held)

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the owner's temporary files in the folder of ``path``, whatever their target.

        What lies behind a link is none of ours.
        """
        target, folder = self.url_of(check_path(path)), os.path.dirname(path)
        try:
            with self._beneath.folder(folder) as held:
                names = [
                    name for name in os.listdir(f"/proc/self/fd/{held}") if self._is_ours(name)
                ]
        except (FileNotFoundError, NotADirectoryError, LinkInTheWayError):
            return ()
        except OSError as error:
            raise _source_error(error, os.path.dirname(target)) from None
        return [
            Upload(
                path=path,
                token=os.path.join(os.path.dirname(target), name),
                attributes=Attributes(mtime_ns=0),
            )
            for name in names
        ]

    def _is_ours(self, name: str) -> bool:
        match = _TEMPORARY_NAME.fullmatch(name)
        return match is not None and name.startswith(self._temporary_prefix)

    def _is_temporary_of(self, upload: Upload) -> bool:
        # A journal is a file that somebody may have edited: only what can be ours is touched.
        folder, name = os.path.split(upload.token)
        return folder == os.path.dirname(self.url_of(upload.path)) and self._is_ours(name)

    def is_leftover(self, path: str) -> bool:
        """Tell by its name whether a file is a temporary one of this owner."""
        return self._is_ours(os.path.basename(path))

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove a file by reading it."""
        full = self.url_of(path)
        try:
            descriptor = self._open_file(path)
            try:
                if _digest(descriptor, from_medium=True) != md5:
                    return None
                if attributes is not None:
                    with contextlib.suppress(OSError):  # somebody else's file keeps its own
                        _set_attributes(descriptor, attributes)
            finally:
                os.close(descriptor)
        except OSError as error:
            failure = _source_error(error, full)
            if isinstance(failure, NotFoundError):
                return None
            raise failure from None
        return Proof(md5=md5, verified_by="read-back")

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        full, (folder, name) = self.url_of(check_path(special.path)), os.path.split(special.path)
        with self._writing(full):
            if special.what == "empty-folder":
                with self._beneath.folder(special.path, make=True) as held:
                    self._devices.setdefault(os.fstat(held).st_dev, special.path)
            elif special.what == "link" and special.target is not None:
                with self._beneath.folder(folder, make=True) as held:
                    self._devices.setdefault(os.fstat(held).st_dev, folder)
                    _make_link(held, name, special.target, full)
            else:
                raise FileError(f"{quote(full)}: can't make a {special.what}")

    def digest(self, path: str) -> str:
        """Read a file and return its MD5."""
        full = self.url_of(path)
        try:
            descriptor = self._open_file(path)
            try:
                return _digest(descriptor, from_medium=True)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _source_error(error, full) from None

    def delete(self, path: str) -> None:
        """Remove a file."""
        folder, name = os.path.split(check_path(path))
        with (
            self._writing(self.url_of(path)),
            contextlib.suppress(FileNotFoundError),
            self._beneath.folder(folder) as held,
        ):
            os.unlink(name, dir_fd=held)

    def sync(self) -> None:
        """Bring the filesystems that were written to their media: one call for all files.

        Does nothing if nothing was written since the last.
        """
        last_write = self._last_write
        if last_write == self._last_synced:
            return
        for folder in tuple(self._devices.values()):
            try:
                descriptor = self._open_existing(folder)
                try:
                    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number), folder)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise self._destination_error(error, self.url_of(folder)) from None
        self._last_synced = last_write

    def _open_existing(self, folder: str) -> int:
        """Open a folder, or the next above that is still there."""
        try:
            with self._beneath.folder(folder) as held:
                return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
        except (FileNotFoundError, NotADirectoryError, LinkInTheWayError):
            if not folder:
                raise
            return self._open_existing(os.path.dirname(folder))

    def _temporary(self) -> str:
        return f"{self._temporary_prefix}{secrets.token_hex(8)}.part"

    @contextlib.contextmanager
    def _writing(self, target: str) -> Iterator[None]:
        """Turn what the system says into our errors, and count the write."""
        try:
            yield
        except OSError as error:
            raise self._destination_error(error, target) from None
        finally:
            self._last_write = next(self._writes)

    def _destination_error(self, error: OSError, target: str) -> JobtoolError:
        reason = error.strerror or str(error)
        hint = _WORLD.get(error.errno or 0)
        if os.path.isdir(self.url):
            if error.errno in (errno.EEXIST, errno.ENOTDIR):
                return FileError(f"can't write {quote(target)}: {reason} ({hint})")
            if error.errno == errno.ENOENT:
                return StoreError(f"can't write {quote(target)}: its folder was removed meanwhile")
        if error.errno in _THIS_FILE:
            return FileError(f"can't write {quote(target)}: {reason}")
        if hint is not None:
            named = isinstance(error.filename, str) and error.filename.startswith("/")
            where = quote(error.filename if named else target)
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


def _digest(descriptor: int, *, from_medium: bool = False) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    if from_medium:
        _forget_cached(descriptor)
    while data := os.read(descriptor, READ_BYTES):
        digest.update(data)
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


def _set_attributes(descriptor: int, attributes: Attributes) -> None:
    if attributes.mode is not None:
        os.chmod(descriptor, attributes.mode & 0o777)
    os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))


def _publish(held: int, temporary: str, name: str, target: str, attributes: Attributes) -> None:
    if attributes.may_replace:
        os.rename(temporary, name, src_dir_fd=held, dst_dir_fd=held)
        return
    try:
        # Unlike a rename it never replaces.
        os.link(temporary, name, src_dir_fd=held, dst_dir_fd=held, follow_symlinks=False)
    except FileExistsError:
        raise FileError(f"{quote(target)} exists already, and is not to be replaced") from None
    finally:
        os.unlink(temporary, dir_fd=held)


def _remove(held: int, temporary: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temporary, dir_fd=held)


def _make_link(held: int, name: str, wanted: str, shown: str) -> None:
    try:
        found = os.readlink(name, dir_fd=held)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EINVAL:  # what it is for anything but a link
            raise
        raise FileError(f"can't make a link at {quote(shown)}: something stands there") from None
    else:
        if found == wanted:
            return
        os.unlink(name, dir_fd=held)
    os.symlink(wanted, name, dir_fd=held)


def _no_file(full: str, found: str) -> SourceError:
    return SourceError(f"expected a regular file at {quote(full)}; found {found}")


def _described(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link, and no link is followed here"
    return "a folder" if stat.S_ISDIR(mode) else "a device, socket or pipe"


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
