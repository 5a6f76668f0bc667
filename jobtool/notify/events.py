"""The events of notices."""

from __future__ import annotations

from typing import ClassVar

from jobtool.events import Event


class NoticeSent(Event, frozen=True, kw_only=True):
    """People were told. ``channel`` is ``mail``, ``webhook`` or ``command``, ``where`` its place.

    ``occasion`` is why, ``title`` the notice's heading.
    """

    kind: ClassVar[str] = "notice-sent"
    occasion: str
    channel: str
    where: str
    title: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Told by {self.channel} ({self.where}): {self.title}."


class NoticeFailed(Event, frozen=True, kw_only=True):
    """A notice couldn't be sent. The work isn't concerned."""

    kind: ClassVar[str] = "notice-failed"
    symbol: ClassVar[str] = "❗"
    occasion: str
    channel: str
    where: str
    title: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"Couldn't tell by {self.channel} ({self.where}) that {self.title}: {self.reason}. "
            "The work isn't concerned; jobtool notify tries again."
        )


class NoticesLost(Event, frozen=True, kw_only=True):
    """What is due can't be found out, such as while the joblist can't be read."""

    kind: ClassVar[str] = "notices-lost"
    symbol: ClassVar[str] = "❗"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Can't find out whom to tell what: {self.reason}. The work isn't concerned."


class NoticesUnsent(Event, frozen=True, kw_only=True):
    """A worker ends while a notice is being sent: it has waited for ``seconds`` and waits no more.

    ``jobtool notify`` sends it, or a worker that comes to the same notice.
    """

    kind: ClassVar[str] = "notices-unsent"
    symbol: ClassVar[str] = "❗"
    seconds: float

    def text(self) -> str:
        """Return the sentence."""
        return (
            f"A notice wasn't sent within {self.seconds:.0f} s; jobtool notify sends it. The work "
            "isn't concerned."
        )
