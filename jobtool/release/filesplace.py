"""A place on a filesystem: files go to the trash by a rename, within one filesystem."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from jobtool.errors import FileError, NotFoundError, StoreUnavailableError
from jobtool.failpoints import reach
from jobtool.jobs.atomic_write import replace_file, sync_folder
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.names import quote
from jobtool.release.destinations import UnprovenError
from jobtool.release.place import FILES, RECORD, TRASH, Fingerprint
from jobtool.stores.beneath import Beneath
from jobtool.stores.local import LocalStore
from jobtool.stores.store import within_64_bits

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o700
_MAX_RECORD_BYTES = 64 * 1024
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_HINT = "Name a folder on the same filesystem with --trash"


class FilesPlace:
    """A folder of this machine's filesystems.

    ``beside`` is the folder beside which the trash is, by default the place itself; ``trash`` is
    the path of another trash. Raises ``UnprovenError`` for a root that is reached through a link.
    """

    def __init__(self, root: str, *, beside: str | None = None, trash: str | None = None) -> None:
        real = os.path.realpath(root)
        if real != root:
            raise UnprovenError(
                f"expected a folder at {quote(root)} without links on the way; found "
                f"{quote(real)}. Files behind a link aren't removed."
            )
        self.url = root
        self.trash_url = trash or os.path.join(os.path.dirname(beside or root), TRASH)
        if root in ("/", self.trash_url):
            raise UnprovenError(
                f"expected a folder that the trash can be beside; found {quote(root)}. {_HINT}"
            )
        self.store = LocalStore(root, links="error", read_back=True)
        self.trash_store = LocalStore(self.trash_url, links="error", read_back=True)
        self._beneath = Beneath(root)
        self._trash = Beneath(self.trash_url, folder_mode=_PRIVATE)

    def fingerprint(self, path: str) -> Fingerprint:
        """Return a file's identity."""
        folder, name = os.path.split(path)
        full = os.path.join(self.url, path)
        with self._folder(self._beneath, folder, full) as held:
            return _fingerprint(held, name, full)

    def fingerprint_in_trash(self, trashed: str) -> Fingerprint | None:
        """Return the identity of a file in the trash; None if there is none."""
        folder, name = os.path.split(trashed)
        full = os.path.join(self.trash_url, trashed)
        try:
            with self._folder(self._trash, folder, full) as held:
                return _fingerprint(held, name, full)
        except NotFoundError:
            return None

    def check_trash(self) -> None:
        """Look at the trash or, if there is none, at the folder that it would be made in."""
        try:
            if os.path.lexists(self.trash_url):
                self._require_own()
            elif os.stat(os.path.dirname(self.trash_url)).st_dev != os.stat(self.url).st_dev:
                raise self._elsewhere()
            elif not os.access(os.path.dirname(self.trash_url), os.W_OK | os.X_OK):
                raise UnprovenError(
                    f"the trash {quote(self.trash_url)} can't be made: its folder may not be "
                    f"written to. {_HINT}"
                )
        except OSError as error:
            raise UnprovenError(
                f"the trash {quote(self.trash_url)} can't be used: {error.strerror}. {_HINT}"
            ) from None

    def make_trash(self, folder: str, record: bytes) -> None:
        """Make a folder that only the user may enter."""
        shown = quote(self.trash_url)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.trash_url, _PRIVATE)
                sync_folder(os.path.dirname(self.trash_url))
            self._require_own()
            made = os.path.join(self.trash_url, folder)
            os.mkdir(made, _PRIVATE)
            replace_file(os.path.join(made, RECORD), record)
            os.mkdir(os.path.join(made, FILES), _PRIVATE)
            sync_folder(made)
            sync_folder(self.trash_url)
        except OSError as error:
            raise UnprovenError(
                f"the trash {shown} can't be used: {error.strerror}. Nothing was removed. {_HINT}"
            ) from None

    def _require_own(self) -> None:
        shown = quote(self.trash_url)
        try:
            descriptor = os.open(self.trash_url, _FOLDER)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise UnprovenError(
                    f"expected a folder at {shown}; found a link or a file. Remove it. {_HINT}"
                ) from None
            raise
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            raise UnprovenError(
                f"expected a trash {shown} of your own that only you may write to; found user "
                f"{found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}. {_HINT}"
            )
        if found.st_dev != os.stat(self.url).st_dev:
            raise self._elsewhere()

    def _elsewhere(self) -> UnprovenError:
        return UnprovenError(
            f"expected the trash {quote(self.trash_url)} on the filesystem of {quote(self.url)}; "
            f"found it on another, to which nothing can be renamed. {_HINT}"
        )

    def read_record(self, folder: str) -> bytes | None:
        """Return the record of a folder in the trash."""
        self._require_own_if_there()
        path = os.path.join(self.trash_url, folder, RECORD)
        try:
            with self._folder(self._trash, folder, path):
                return read_bounded(path, _MAX_RECORD_BYTES)
        except (NotFoundError, FileNotFoundError, UnfitFileError):
            return None
        except OSError as error:
            raise UnprovenError(f"can't read {quote(path)}: {error.strerror}") from None

    def _require_own_if_there(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._require_own()

    def to_trash(self, path: str, fingerprint: Fingerprint, trashed: str, md5: str) -> None:
        """Rename a file, and look at it once more under its new name."""
        (folder, name), (new_folder, new_name) = os.path.split(path), os.path.split(trashed)
        full, target = os.path.join(self.url, path), os.path.join(self.trash_url, trashed)
        with (
            self._folder(self._trash, new_folder, target, make=True) as there,
            self._folder(self._beneath, folder, full) as here,
        ):
            if _fingerprint(here, name, full) != fingerprint:
                raise _changed()
            if _exists(there, new_name):
                raise UnprovenError(f"expected nothing at {quote(target)}; found something")
            try:
                os.rename(name, new_name, src_dir_fd=here, dst_dir_fd=there)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise self._elsewhere() from None
                raise UnprovenError(
                    f"it can't be moved to {quote(target)}: {error.strerror}"
                ) from None
            if not _fingerprint(there, new_name, target).is_same_file(fingerprint):
                _move_back(there, new_name, here, name, full)
                raise _changed()

    def is_at_both(self, path: str, trashed: str) -> bool:
        """Return True for one file with both names."""
        (folder, name), (new_folder, new_name) = os.path.split(path), os.path.split(trashed)
        full, target = os.path.join(self.url, path), os.path.join(self.trash_url, trashed)
        try:
            with (
                self._folder(self._trash, new_folder, target) as there,
                self._folder(self._beneath, folder, full) as here,
            ):
                return _is_same(there, new_name, here, name)
        except (NotFoundError, UnprovenError):  # a link in the way leads elsewhere
            return False

    def put_back(self, trashed: str, path: str) -> None:
        """Give a file its name again, without replacing anything."""
        (folder, name), (new_folder, new_name) = os.path.split(path), os.path.split(trashed)
        full, target = os.path.join(self.url, path), os.path.join(self.trash_url, trashed)
        with (
            self._folder(self._trash, new_folder, target) as there,
            self._folder(self._beneath, folder, full, make=True) as here,
        ):
            _move_back(there, new_name, here, name, full)

    def remove(self, trashed: str, fingerprint: Fingerprint) -> None:
        """Unlink a file of the trash."""
        folder, name = os.path.split(trashed)
        full = os.path.join(self.trash_url, trashed)
        with self._folder(self._trash, folder, full) as held:
            if _fingerprint(held, name, full) != fingerprint:
                raise _changed()
            try:
                os.unlink(name, dir_fd=held)
            except OSError as error:
                raise UnprovenError(f"{quote(full)} can't be removed: {error.strerror}") from None

    def remove_folder(self, folder: str) -> None:
        """Remove the empty folders, then the record; stop at anything that isn't empty."""
        made = os.path.join(self.trash_url, folder)
        with contextlib.suppress(OSError):
            for base, _, _ in os.walk(os.path.join(made, FILES), topdown=False):
                os.rmdir(base)
            os.unlink(os.path.join(made, RECORD))
            os.rmdir(made)
            os.rmdir(self.trash_url)  # if it was the last

    def clock_ns(self, folder: str) -> int | None:
        """Return the time that the filesystem gives to a new file, its server's on a network."""
        path = os.path.join(self.trash_url, folder, f".clock.{os.getpid()}")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                return os.fstat(descriptor).st_mtime_ns
            finally:
                os.close(descriptor)
                os.unlink(path)
        except OSError:
            return None

    @contextlib.contextmanager
    def _folder(
        self, beneath: Beneath, folder: str, full: str, *, make: bool = False
    ) -> Iterator[int]:
        try:
            descriptor = beneath.open(folder, make=make)
        except FileNotFoundError:
            raise NotFoundError(f"expected a file at {quote(full)}; found nothing") from None
        except NotADirectoryError:
            raise NotFoundError(f"expected a file at {quote(full)}; found nothing") from None
        except FileError:  # a link
            raise UnprovenError(
                f"expected folders on the way to {quote(full)}; found a link. Files behind a link "
                "aren't removed."
            ) from None
        except OSError as error:
            raise UnprovenError(f"{quote(full)} can't be reached: {error.strerror}") from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _fingerprint(folder: int, name: str, full: str) -> Fingerprint:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise NotFoundError(f"expected a file at {quote(full)}; found nothing") from None
    except OSError as error:
        if error.errno in (errno.EIO, errno.ESTALE):
            raise StoreUnavailableError(f"can't look at {quote(full)}: {error.strerror}") from None
        raise UnprovenError(f"can't look at {quote(full)}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        what = "a link" if stat.S_ISLNK(found.st_mode) else "something else"
        raise UnprovenError(f"expected a regular file; found {what}. It isn't removed.")
    if found.st_nlink > 1:
        raise UnprovenError(
            f"expected a file with one name; found {found.st_nlink} (hard links). Removing one of "
            "them frees nothing."
        )
    return Fingerprint(
        size=found.st_size,
        mtime_ns=within_64_bits(found.st_mtime_ns),
        file=(found.st_dev, found.st_ino),
        changed_ns=found.st_ctime_ns,
    )


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_same(there: int, new_name: str, here: int, name: str) -> bool:
    """Return True if two names are those of one file."""
    try:
        one = os.stat(new_name, dir_fd=there, follow_symlinks=False)
        other = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(one, other)


def _move_back(there: int, new_name: str, here: int, name: str, full: str) -> None:
    try:
        try:
            os.link(new_name, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
            reach("while a file is put back")
        except FileExistsError:
            if not _is_same(there, new_name, here, name):
                raise
            os.unlink(new_name, dir_fd=there)  # of a process that was killed right before
        except OSError:  # a filesystem without hard links
            if _exists(here, name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            os.rename(new_name, name, src_dir_fd=there, dst_dir_fd=here)
        else:
            os.unlink(new_name, dir_fd=there)
    except OSError as error:
        raise UnprovenError(
            f"{quote(full)} can't be put back from the trash: {error.strerror}. It is there still."
        ) from None


def _changed() -> UnprovenError:
    return UnprovenError("it has changed since it was read in this pass")
