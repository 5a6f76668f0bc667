"""Metrics for StatsD: counters by UDP.

Source: https://github.com/statsd/statsd/blob/master/docs/metric_types.md. A datagram holds several
lines, and fits the frames of an Ethernet.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from jobtool.jobs.metricssettings import address_of
from jobtool.metrics.counts import Counts, Drained, Place

#: Larger datagrams may be split on their way, and are then easily lost.
MOST_BYTES = 1432

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class StatsD:
    """Sends what was done since the last time. What a network loses isn't noticed."""

    def __init__(self, address: str, *, per_job: bool) -> None:
        self.name = f"statsd {address}"
        self.unsent = 0
        self._address = address_of(address)
        self._per_job = per_job

    def send(self, drained: Drained, *, is_last: bool) -> None:
        """Send counters; raises ``OSError``, and then they are dropped."""
        lines = [*self._lines(drained)]
        if not lines:
            return
        self.unsent += len(drained.counts)
        host, port = self._address
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as sender:
            for datagram in datagrams(lines):
                sender.sendto(datagram, address)
        self.unsent -= len(drained.counts)

    def close(self) -> None:
        """Nothing is held."""

    def _lines(self, drained: Drained) -> Iterator[str]:
        totals: dict[str, Counts] = {}
        for place, counts in drained.counts.items():
            totals.setdefault(self._prefix(place), Counts()).add(counts)
        for prefix, counts in totals.items():
            for name, value in (
                ("bytes", counts.bytes),
                ("files", counts.files),
                ("sent_bytes", counts.sent_bytes),
                ("retries", counts.retries),
                ("milliseconds", round(counts.seconds * 1000)),
                *((f"attempts.{state}", count) for state, count in counts.ended.items()),
            ):
                if value:
                    yield f"{prefix}.{name}:{value}|c"

    def _prefix(self, place: Place) -> str:
        parts = ["jobtool"]
        for name, value in (
            ("job", place.job if self._per_job else None),
            ("route", place.route),
            ("step", place.step),
        ):
            if value is not None:
                parts += name, _UNFIT.sub("_", value)
        return ".".join(parts if place.step is not None else [*parts, "jobs"])


def datagrams(lines: list[str]) -> Iterator[bytes]:
    """Yield lines in as few datagrams as possible, in their order."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        data = line.encode()
        if held and size + len(data) + len(held) > MOST_BYTES:
            yield b"\n".join(held)
            held, size = [], 0
        held.append(data)
        size += len(data)
    if held:
        yield b"\n".join(held)
