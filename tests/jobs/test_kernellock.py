"""Kernel locks: what they exclude, and with what they end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from jobtool.errors import JoblistUnavailableError
from jobtool.jobs import kernellock
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.kernellock import KernelLock

#: Takes a lock, starts a child that outlives it and prints its ID, waits.
_HOLDER = """
import os, sys
from jobtool.jobs.kernellock import KernelLock
lock = KernelLock.acquire(sys.argv[1])
child = os.fork()
if not child:
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_excludes_and_is_released(tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "folder" / "job.lock")
    lock = KernelLock.acquire(path)
    assert lock is not None
    assert KernelLock.acquire(path) is None
    lock.release()
    lock.release()
    again = KernelLock.acquire(path)
    assert again is not None
    again.release()
    assert os.path.getsize(path) == 0


def test_excludes_the_lock_of_filelock(tmp_path: Path) -> None:
    """Workers of earlier versions lock by filelock."""
    path = str(tmp_path / "job.lock")
    theirs = FileLock(path, timeout=0)
    with theirs:
        assert KernelLock.acquire(path) is None
    ours = KernelLock.acquire(path)
    assert ours is not None
    with pytest.raises(Timeout):
        theirs.acquire()
    ours.release()


def test_ends_with_its_process_though_a_forked_child_lives(tmp_path: Path) -> None:
    path = str(tmp_path / "job.lock")
    command = [sys.executable, "-c", _HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        assert KernelLock.acquire(path) is None
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        os.kill(child, 0)  # it is there still: its standard input is open
        lock = KernelLock.acquire(path)
        assert lock is not None
        lock.release()
        os.kill(child, signal.SIGKILL)


def test_a_file_that_loses_its_name_isnt_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may remove the file between opening and locking it."""
    path = tmp_path / "job.lock"
    flock = kernellock.fcntl.flock

    def remove_first(descriptor: int, operation: int) -> None:
        path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(kernellock.fcntl, "flock", remove_first)
    assert KernelLock.acquire(str(path)) is None
    monkeypatch.undo()
    lock = KernelLock.acquire(str(path))
    assert lock is not None
    lock.release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ESTALE, errno.EIO])
def test_a_filesystem_that_refuses_locks_is_named_and_no_file_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(kernellock.fcntl, "flock", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(JoblistUnavailableError, match=os.strerror(code)) as caught:
        Claims(str(tmp_path), ClaimPolicy(kind="lock", lease_seconds=30)).acquire("job")
    assert str(tmp_path) in str(caught.value)
    assert os.listdir("/proc/self/fd") == before


def test_a_link_isnt_followed(tmp_path: Path) -> None:
    (tmp_path / "job.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        KernelLock.acquire(str(tmp_path / "job.lock"))
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_another_users_file_in_a_sticky_folder_is_refused(tmp_path: Path) -> None:
    """Its owner could replace it while the lock is held."""
    path = tmp_path / "job.lock"
    path.touch()
    os.chown(path, 4711, -1)
    lock = KernelLock.acquire(str(path))
    assert lock is not None  # the folder is ours, and nobody else can write to it
    lock.release()
    tmp_path.chmod(0o1777)
    with pytest.raises(PermissionError, match="could replace it"):
        KernelLock.acquire(str(path))
