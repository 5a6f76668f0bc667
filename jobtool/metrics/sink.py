"""Where metrics go: the sink protocol, and the thread that serves one sink."""

from __future__ import annotations

import threading
from typing import Protocol

from jobtool.metrics.counts import Drained, Feed
from jobtool.metrics.recorder import Recorder
from jobtool.redact import redact


class Sink(Protocol):
    """A place for metrics. Only the thread that serves it calls its methods."""

    @property
    def name(self) -> str:
        """The place, for messages, without secrets."""
        ...

    def send(self, drained: Drained, *, is_last: bool) -> None:
        """Send what was done. Raises any exception for a try that failed."""
        ...

    @property
    def unsent(self) -> int:
        """How many points were dropped, or are kept for the next try."""
        ...

    def close(self) -> None:
        """Free what the sink holds."""
        ...


class Sender:
    """A thread that passes what a recorder counts to a sink, every ``interval_seconds``.

    Nothing that the sink does, raises or waits for reaches the worker.
    """

    def __init__(self, sink: Sink, recorder: Recorder, interval_seconds: float) -> None:
        self.name = sink.name
        self._sink = sink
        self._recorder = recorder
        self._feed: Feed = recorder.feed()
        self._interval_seconds = interval_seconds
        self._has_ended = threading.Event()
        self._why = ""
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def start(self) -> None:
        """Start the thread; without one, because of a limit, all points are lost."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._why = str(error)

    def stop(self) -> None:
        """Ask the thread to send what there is and to end."""
        self._has_ended.set()

    def lost(self, timeout_seconds: float) -> tuple[int, str]:
        """Wait for the thread; return how many points were lost, and why."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        unsent = len(self._feed) + self._sink.unsent
        if self._thread.is_alive():
            return max(unsent, 1), self._why or "it doesn't answer"
        return unsent, self._why

    def _serve(self) -> None:
        try:
            while True:
                is_last = self._has_ended.is_set()
                self._send(is_last=is_last)
                if is_last:
                    return
                self._has_ended.wait(self._interval_seconds)
        finally:
            self._sink.close()

    def _send(self, *, is_last: bool) -> None:
        try:
            self._sink.send(self._recorder.drain(self._feed), is_last=is_last)
        except Exception as error:
            self._why = redact(str(error) or type(error).__name__)
