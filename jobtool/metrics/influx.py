"""Metrics for InfluxDB: points of what was done, in its line protocol, by HTTP.

Source: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/. A point that is
sent twice is the same point, so points whose answer was lost are sent again.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobtool.jobs.metricssettings import TOKEN_VARIABLE
from jobtool.metrics.counts import Counts, Drained, Place
from jobtool.names import in_one_line, quote
from jobtool.redact import redact

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: How many points wait for a server that doesn't answer; then the oldest are dropped.
MOST_WAITING = 5000

#: Points of one request.
BATCH_POINTS = 1000

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0

#: The answers after which the same points may be accepted later.
_MAY_PASS = frozenset({401, 403, 404, 408, 425, 429})

#: The bits of a time that tell workers of one host apart: less than a tenth of a millisecond.
_BITS = 16


class Influx:
    """Posts points. ``tags`` are those of the worker, ``worker`` its name."""

    def __init__(
        self,
        url: str,
        *,
        tags: Mapping[str, str],
        worker: str,
        per_job: bool,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = f"influx {redact(url)}"
        self._url = url
        self._tags = tags
        self._worker = worker
        self._per_job = per_job
        self._now_ns = now_ns
        self._last_ns = 0
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._pool: Any = None

    @property
    def unsent(self) -> int:
        """How many points were dropped, or wait for the next try."""
        return self._dropped + len(self._lines)

    def send(self, drained: Drained, *, is_last: bool) -> None:
        """Post the points that wait. Raises the errors of urllib3, ``OSError`` for an answer."""
        try:
            _load()  # also before there are points: it takes a moment, which the end may not have
            self._lines.extend([*self.lines_of(drained)])
        except ImportError:
            self._dropped += len(drained.counts)
            raise OSError("it needs more packages: pip install 'jobtool[metrics]'") from None
        while len(self._lines) > MOST_WAITING:
            self._lines.popleft()
            self._dropped += 1
        while self._lines:
            batch = [self._lines[index] for index in range(min(len(self._lines), BATCH_POINTS))]
            status, text = post(self._url, "\n".join(batch).encode())
            is_kept = status >= 500 or status in _MAY_PASS
            if not is_kept:
                for _ in batch:
                    self._lines.popleft()
            if not 200 <= status < 300:
                self._dropped += 0 if is_kept else len(batch)
                raise OSError(f"it answered {status}{': ' + text if text else ''}")

    def close(self) -> None:
        """Nothing is held: each request has a connection of its own."""

    def lines_of(self, drained: Drained) -> Iterator[str]:
        """Yield the points of what was done, as lines."""
        for place, counts in drained.counts.items():
            # The first point has the counts; others only say that further attempts ended.
            states = [*counts.ended.items()] or [("ongoing", 0)]
            yield self._line(place, counts, *states[0])
            for state, ended in states[1:]:
                yield self._line(place, Counts(), state, ended)

    def _line(self, place: Place, counts: Counts, state: str, ended: int) -> str:
        from influxdb_client.client.write.point import Point

        point = Point("jobtool_job" if place.step is None else "jobtool_step")
        tags = {**self._tags, "state": state, "step": place.step, "route": place.route}
        fields: dict[str, Any] = {"worker": self._worker, "ended": ended}
        if place.job is not None:
            if self._per_job:
                tags["job"] = place.job
            else:
                fields["job"] = quote(place.job)
            fields["attempt"] = place.attempt
        if place.step is not None:
            fields |= {
                "bytes": counts.bytes,
                "files": counts.files,
                "sent_bytes": counts.sent_bytes,
                "retries": counts.retries,
                "seconds": float(counts.seconds),
            }
        for key, value in tags.items():
            if value is not None:
                point.tag(key, quote(value))
        for key, value in fields.items():
            point.field(key, value)
        return str(point.time(self._stamp()).to_line_protocol())

    def _stamp(self) -> int:
        """Return a time in nanoseconds that no other point of this worker has.

        Points with the same tags and time would replace each other. The lowest bits are the process
        ID's, which differs between workers of a host.
        """
        own = os.getpid() & ((1 << _BITS) - 1)
        later = (self._last_ns >> _BITS) + 1
        self._last_ns = (max(self._now_ns() >> _BITS, later) << _BITS) + own
        return self._last_ns


def _load() -> None:
    """Import what points need. Raises ``ImportError``."""
    for name in ("urllib3", "influxdb_client.client.write.point"):
        import_module(name)


def post(url: str, body: bytes) -> tuple[int, str]:
    """Post lines; return the status and the beginning of the answer, as one line.

    The token is that of the environment. It is sent to this URL only: redirects aren't followed,
    and variables for proxies aren't used. Raises the errors of urllib3.
    """
    import urllib3

    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "jobtool"}
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if token:
        redact_token(token)
        headers["Authorization"] = f"Token {token}"
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        answer = pool.request(
            "POST", url, body=body, headers=headers, redirect=False, preload_content=False
        )
        try:
            return answer.status, _beginning(answer)
        finally:
            answer.close()


def redact_token(token: str) -> None:
    """Have the token, and the password of InfluxDB 1 in it, replaced in all text."""
    redact.learn(token, token.partition(":")[2])


def _beginning(answer: BaseHTTPResponse) -> str:
    text = answer.read(2000, decode_content=False).decode("utf-8", "replace")
    return redact(in_one_line(text, most=300))
