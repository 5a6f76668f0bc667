"""The ways in which people are told: what they have in common."""

from __future__ import annotations

from typing import Protocol

from jobtool.notify.notice import Notice


class NoticeError(Exception):
    """A notice couldn't be sent. The message has no secret. ``may_pass``: another try may help."""

    def __init__(self, reason: str, *, may_pass: bool = True) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


class Channel(Protocol):
    """A way in which people are told."""

    @property
    def name(self) -> str:
        """A word for it: ``mail``, ``webhook`` or ``command``."""
        ...

    @property
    def shown(self) -> str:
        """Where notices go, for messages, without secrets."""
        ...

    def send(self, notice: Notice) -> None:
        """Send a notice, in limited time. Raises ``NoticeError``."""
        ...

    def check(self) -> str:
        """Try what can be tried without sending anything; return what was found.

        Raises ``NoticeError``.
        """
        ...
