"""The MD5s of a package's members, collected while ranges of its tar are read.

A member that lies within one read is hashed there. One that straddles reads is hashed as far as the
reads that cover it follow each other. What is known then is the state of its MD5 at an offset.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from jobtool.md5 import MD5, can_resume, md5_of
from jobtool.packages.digestlog import DigestLog, DigestRecord
from jobtool.packages.members import MemberList

_MD5_BYTES = 16

#: How many states of members that aren't hashed to their end are kept. A file has at most 10,000
#: parts, and a part has at most two such members.
MOST_STATES = 20_000


class MemberDigests:
    """The MD5s of the members of a list. Threads may use it. A member takes 17 bytes of memory.

    ``log`` is the path of a file that digests are appended to, so that they count after a kill;
    None to keep them in memory. ``others`` are further such files, of other workers, which are
    only read. A file that can't be read, or is about other members, counts as empty: the members
    are read again. ``log_failure`` says why the log couldn't be written, else it is None.
    """

    def __init__(
        self, members: MemberList, *, log: str | None = None, others: Iterable[str] = ()
    ) -> None:
        self._members = members
        self._lock = threading.Lock()
        self._digests = bytearray(len(members) * _MD5_BYTES)
        self._known = bytearray(len(members))
        self._missing = len(members)
        # By a member's number and the offset up to which it is hashed.
        self._states: dict[int, dict[int, MD5 | str]] = {}
        self._states_count = 0
        self._log: DigestLog | None = None
        fingerprint = members.fingerprint()
        for path in others:
            self._take(DigestLog(path, fingerprint).read())
        if log is not None:
            self._log = DigestLog(log, fingerprint)
            self._take(self._log.read())

    @property
    def missing_count(self) -> int:
        """How many members have no MD5 yet."""
        return self._missing

    def missing(self) -> Iterator[int]:
        """Yield the numbers of the members that have no MD5 yet."""
        number = self._known.find(0)
        while number >= 0:
            yield number
            number = self._known.find(0, number + 1)

    def md5_of(self, number: int) -> str | None:
        """Return a member's MD5 in hex; None if it isn't known yet."""
        if not self._known[number]:
            return None
        return self._digests[number * _MD5_BYTES : (number + 1) * _MD5_BYTES].hex()

    def furthest(self, number: int) -> int:
        """Return up to which offset a member without an MD5 needn't be read again."""
        with self._lock:
            return max(self._states.get(number, ()), default=0)

    def add(self, number: int, start: int, data: bytes | memoryview) -> None:
        """Hash what was read of a member, from the offset ``start`` in it.

        It counts if it begins at the member's start, or at the end of what was hashed before.
        """
        end, size = start + len(data), self._members.size_of(number)
        if start == 0 and end == size:
            self._put(number, md5_of(data))
            return
        hasher = MD5() if start == 0 else self._resumed(number, start)
        if hasher is None:
            return
        hasher.update(data)
        if end == size:
            self._put(number, hasher.hexdigest())
        else:
            self._keep(number, end, hasher)

    def flush(self) -> None:
        """Append what is new to the log, if there is one.

        It isn't synced: members whose MD5s are lost are read again.
        """
        if self._log is not None:
            self._log.flush()

    @property
    def log_failure(self) -> str | None:
        """Why digests couldn't be written to the log; None if they could."""
        return None if self._log is None else self._log.failure

    def _resumed(self, number: int, start: int) -> MD5 | None:
        with self._lock:
            of_member = self._states.get(number, {})
            state = of_member.get(start)
            if isinstance(state, MD5):  # it has no other copy
                del of_member[start]
                self._states_count -= 1
                return state
        return None if state is None else MD5(state, start)

    def _keep(self, number: int, end: int, hasher: MD5) -> None:
        state = hasher.state
        with self._lock:
            self._add_state(number, end, hasher if state is None else state)
        if state is not None and self._log is not None:
            self._log.append(DigestRecord(number, end, bytes.fromhex(state)))

    def _add_state(self, number: int, end: int, state: MD5 | str) -> None:
        while self._states_count >= MOST_STATES:
            self._drop_states(next(iter(self._states)))
        of_member = self._states.setdefault(number, {})
        self._states_count += end not in of_member
        of_member[end] = state

    def _drop_states(self, number: int) -> None:
        self._states_count -= len(self._states.pop(number, ()))

    def _put(self, number: int, md5: str) -> None:
        digest = bytes.fromhex(md5)
        with self._lock:
            is_new = self._set(number, digest)
        if is_new and self._log is not None:
            self._log.append(DigestRecord(number, self._members.size_of(number), digest))

    def _set(self, number: int, digest: bytes) -> bool:
        place = slice(number * _MD5_BYTES, (number + 1) * _MD5_BYTES)
        is_new = not self._known[number] or self._digests[place] != digest
        self._missing -= not self._known[number]
        self._digests[place] = digest  # before it is known: readers don't wait for the lock
        self._known[number] = 1
        self._drop_states(number)
        return is_new

    def _take(self, records: Iterable[DigestRecord]) -> None:
        resumes = can_resume()
        for record in records:
            if record.number >= len(self._members):
                continue
            if record.end == self._members.size_of(record.number):
                self._set(record.number, record.digest)
            elif resumes and 0 < record.end < self._members.size_of(record.number):
                self._add_state(record.number, record.end, record.digest.hex())
