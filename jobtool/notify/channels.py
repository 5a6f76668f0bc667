"""The channels of a joblist, by its ``[notify]`` table."""

from __future__ import annotations

from jobtool.jobs.notifysettings import NotifySettings
from jobtool.notify.channel import Channel


def channels_of(settings: NotifySettings) -> list[Channel]:
    """Return the ways in which people are told; none if the table names none."""
    channels: list[Channel] = []
    if settings.mail is not None:
        from jobtool.notify.mail import MailChannel

        channels.append(MailChannel(settings.mail))
    if settings.webhook is not None:
        from jobtool.notify.webhook import WebhookChannel

        channels.append(WebhookChannel(settings.webhook))
    if settings.command is not None:
        from jobtool.notify.command import CommandChannel

        channels.append(CommandChannel(settings.command_words))
    return channels
