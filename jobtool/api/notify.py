"""``send_notices``: tells people what is due of a joblist, without any worker."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import msgspec

from jobtool.api.places import Place, opened
from jobtool.errors import UsageError
from jobtool.events import Emit, Event, ignore, unfailing
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList
    from jobtool.notify.events import NoticeFailed, NoticeSent
    from jobtool.notify.notice import Notice


class Notices(msgspec.Struct, frozen=True, kw_only=True):
    """What was told: each notice for each way. ``due`` are the notices of a dry run."""

    sent: tuple[NoticeSent, ...] = ()
    failed: tuple[NoticeFailed, ...] = ()
    due: tuple[Notice, ...] = ()

    @property
    def exit_code(self) -> int:
        """4 if something couldn't be sent, else 0."""
        return 4 if self.failed else 0


def send_notices(
    joblist: Place | JobList,
    *,
    test: bool = False,
    dry_run: bool = False,
    trust: bool = False,
    on_event: Emit = ignore,
) -> Notices:
    """Look at a joblist, and tell what is due by its ``[notify]`` table and wasn't told yet.

    For cron, or wherever no worker may be left to tell. What has failed before is tried again.

    Args:
        joblist: The folder, or an open joblist.
        test: Send a test by each way, whatever is due.
        dry_run: Send nothing and write nothing; return the notices that are due.
        trust: Send to the places that joblist.toml names, and run its command, even if others could
            have written it.
        on_event: Called with each event. An exception from it stops nothing.

    Raises:
        UsageError: There is nothing at the path, or nobody to tell.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        JoblistUnavailableError: The joblist can't be read any more.

    Examples:
        >>> [notice.occasion for notice in jobtool.send_notices("joblist", dry_run=True).due]
        ['finish']
    """
    from jobtool.notify.channels import channels_of
    from jobtool.notify.due import due_now
    from jobtool.notify.events import NoticeFailed, NoticeSent
    from jobtool.notify.look import look_at
    from jobtool.notify.markers import Markers
    from jobtool.notify.telling import Teller
    from jobtool.notify.writing import test_notice

    joblist = opened(joblist, trust=trust)
    joblist.require_trusted()
    settings = joblist.settings.notify
    if not settings.is_told and not dry_run:
        raise UsageError(
            f"{quote(os.path.join(joblist.path, 'joblist.toml'))}: expected [notify.mail], "
            "[notify.webhook] or a command in [notify]; found nobody to tell"
        )
    emit = unfailing(on_event)
    host = socket.gethostname().partition(".")[0]
    markers = Markers(joblist.claims_path, host=host, pid=os.getpid())
    teller = Teller(channels_of(settings), markers)
    look = look_at(joblist)
    events: list[Event] = []
    notices: list[Notice] = []

    def tell(found: list[Event]) -> None:
        for event in found:
            emit(event)
        events.extend(found)

    if test:
        notice = test_notice(look)
        notices.append(notice)
        if not dry_run:
            for channel in teller.channels:
                tell([teller.sent_at_once(channel, notice)])
    else:
        for due in due_now(look, settings, markers):
            if dry_run:
                if teller.is_open(due.occasion.key, again=True) or not teller.channels:
                    notices.append(due.write())
            else:
                tell(teller.tell(due.occasion, due.write, again=True))
        if look.is_finished and "finish" not in settings.on and not dry_run:
            markers.note(f"finish-{look.end}")
    return Notices(
        sent=tuple(event for event in events if isinstance(event, NoticeSent)),
        failed=tuple(event for event in events if isinstance(event, NoticeFailed)),
        due=tuple(notices) if dry_run else (),
    )
