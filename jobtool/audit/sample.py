"""Which files a sampled audit looks at: a random choice that a seed repeats.

Each file has a score, a number that depends on the seed and its URL alone. A file is drawn if its
score is below a threshold. Half of the sample is drawn so, from all files alike: large jobs have
most of it. The other half is drawn from the jobs alike: of each job that is drawn, by a score of
its own, the file with the lowest score is looked at that isn't drawn anyway. So each job is drawn
with the same probability in each run, however few files it has: half of the sample's size, divided
by the number of jobs. With another seed each time, all jobs are reached in the course of some runs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec

from jobtool.jobs.records import Receipt

_SCORES = 2**64


class Share(msgspec.Struct, frozen=True):
    """How much is looked at: a ``fraction`` above 0 and up to 1, or else a number of ``files``."""

    fraction: float | None = None
    files: int = 0

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``1%`` or ``50``. Raises ``ValueError``."""
        number = text.strip()
        try:
            if number.endswith("%"):
                percent = float(number.removesuffix("%"))
                if 0 < percent <= 100:
                    return cls(fraction=percent / 100)
            elif (files := int(number)) > 0:
                return cls(files=files)
        except ValueError:
            pass
        raise ValueError(
            f"expected a part above 0% and up to 100%, such as 1%, or a number of files from 1 on; "
            f"found {text!r}"
        )


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn: files whose score is below ``threshold``, and a file of each of ``jobs``.

    The sample is of ``files`` files in all. ``fraction`` is the part that was asked for, None for a
    number of files.
    """

    seed: str
    threshold: int
    jobs: frozenset[str]
    files: int
    fraction: float | None

    @property
    def members_below(self) -> int:
        """The score below which a member of a package is drawn."""
        return 0 if self.fraction is None else int(self.fraction * _SCORES)

    def of_job(self, job: str, receipts: Iterable[Receipt]) -> Iterator[Receipt]:
        """Yield those of a job's ``receipts``, one for each file, whose files are drawn."""
        rest: tuple[int, Receipt] | None = None
        for receipt in receipts:
            own = score(self.seed, receipt.dst_path)
            if own < self.threshold:
                yield receipt
            elif job in self.jobs and (rest is None or own < rest[0]):
                rest = own, receipt
        if rest is not None:
            yield rest[1]


def draw(share: Share, seed: str, jobs: Iterable[tuple[str, Iterable[Receipt]]]) -> Drawn:
    """Draw a sample of the files of all jobs, each a name and its receipts.

    A file that has several receipts may count several times. Takes memory for the names of jobs
    and, for a number of files, for as many numbers.
    """
    files, names = 0, []
    lowest: list[int] = []  # the scores, negative, with the largest first
    for job, receipts in jobs:
        count = 0
        for receipt in receipts:
            count += 1
            if share.fraction is None:
                _keep(lowest, -score(seed, receipt.dst_path), share.files)
        files += count
        if count:
            names.append(job)
    size = share.files if share.fraction is None else math.ceil(share.fraction * files)
    threshold, drawn = _SCORES, frozenset[str]()
    if size < files:
        of_jobs = min(size // 2, len(names))
        of_files = size - of_jobs
        if share.fraction is None:
            threshold = sorted(-each for each in lowest)[of_files]
        else:
            threshold = of_files * _SCORES // files
        order = sorted(names, key=lambda name: score(seed, f"job {name}"))
        drawn = frozenset(order[:of_jobs])
    return Drawn(seed=seed, threshold=threshold, jobs=drawn, files=files, fraction=share.fraction)


def score(seed: str, what: str) -> int:
    """Return the score of a URL or another name, of 64 bits."""
    data = f"{seed}\0{what}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def _keep(lowest: list[int], value: int, most: int) -> None:
    """Keep a negative score if it is among the ``most`` + 1 nearest to 0."""
    if len(lowest) <= most:
        heapq.heappush(lowest, value)
    elif value > lowest[0]:
        heapq.heapreplace(lowest, value)
