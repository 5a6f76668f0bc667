"""Sending notices: each once by each channel, with a few tries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from jobtool.errors import reason_of
from jobtool.events import Event
from jobtool.notify.channel import Channel, NoticeError
from jobtool.notify.events import NoticeFailed, NoticeSent
from jobtool.notify.markers import Markers
from jobtool.notify.notice import Notice, Occasion
from jobtool.redact import redact

#: The pauses between tries, in seconds.
PAUSES = (1.0, 5.0)


class Teller:
    """Sends notices by ``channels``. ``wait`` waits for some seconds; True means to try no more."""

    def __init__(
        self,
        channels: Sequence[Channel],
        markers: Markers,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.channels = channels
        self.markers = markers
        self._wait = wait or threading.Event().wait

    def is_open(self, key: str, *, again: bool = False) -> bool:
        """Return True if some channel hasn't had this notice."""
        return any(self.markers.is_open(key, each.name, again=again) for each in self.channels)

    def tell(
        self, occasion: Occasion, write: Callable[[], Notice], *, again: bool = False
    ) -> list[Event]:
        """Send a notice by each channel that hasn't had it; return what to emit.

        ``write`` makes it; it is called once, by the process that sends it. With ``again`` what has
        failed is tried again. Raises what ``write`` raises.
        """
        events: list[Event] = []
        notice: Notice | None = None
        for channel in self.channels:
            try:
                taken = self.markers.take(
                    occasion.key, channel.name, title=occasion.title, again=again
                )
            except OSError as error:
                reason = f"can't write in the joblist: {reason_of(error)}"
                events.append(failed(channel, occasion, reason))
                continue
            if taken is None:
                continue
            reason = "it was broken off"
            try:
                notice = notice or write()
                told = self.send(channel, notice)
                reason = "" if told is None else told
            finally:
                taken.end(reason=reason or None)
            occasion = replace(occasion, title=notice.title)
            events.append(failed(channel, occasion, reason) if reason else sent(channel, occasion))
        return events

    def sent_at_once(self, channel: Channel, notice: Notice) -> Event:
        """Send a notice by one channel, whether or not it was sent before; return the event."""
        occasion = Occasion(kind=notice.occasion, key=notice.key, title=notice.title)
        reason = self.send(channel, notice)
        return sent(channel, occasion) if reason is None else failed(channel, occasion, reason)

    def send(self, channel: Channel, notice: Notice) -> str | None:
        """Send a notice by one channel, whether or not it was sent; return why that failed."""
        for pause in (*PAUSES, None):
            try:
                channel.send(notice)
            except NoticeError as error:
                reason = redact(str(error))
                if not error.may_pass or pause is None or self._wait(pause):
                    return reason
            except Exception as error:  # nothing that a channel does may end the work
                return redact(f"{type(error).__name__}: {error}")
            else:
                return None
        return None


def sent(channel: Channel, occasion: Occasion) -> NoticeSent:
    """Return the event of a notice that was sent."""
    return NoticeSent(
        occasion=occasion.kind, channel=channel.name, where=channel.shown, title=occasion.title
    )


def failed(channel: Channel, occasion: Occasion, reason: str) -> NoticeFailed:
    """Return the event of a notice that couldn't be sent."""
    return NoticeFailed(
        occasion=occasion.kind,
        channel=channel.name,
        where=channel.shown,
        title=occasion.title,
        reason=reason.rstrip("."),
    )
