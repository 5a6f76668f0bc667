"""The checks of notices: whether people can be told from here.

None of them fails: a transfer works without notices. None of them sends one.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.doctor.checkresult import CheckResult, Subject
from jobtool.jobs.notifysettings import NotifySettings
from jobtool.notify.channel import NoticeError
from jobtool.notify.channels import channels_of
from jobtool.redact import redact

_ADVICE = {
    "mail": "Correct [notify.mail], or ask who runs the mail server. Workers go on without it.",
    "webhook": "Correct [notify.webhook]; a node may need https_proxy. Workers go on without it.",
    "command": "Correct command in [notify]. Workers go on without it.",
}


def notices_results(settings: NotifySettings) -> Iterator[CheckResult]:
    """Yield a result for each way in which ``[notify]`` tells people, as this node can use it."""
    for channel in channels_of(settings):
        about = Subject("notices", channel.shown)
        try:
            found = channel.check()
        except NoticeError as error:
            yield about.warned(channel.name, redact(str(error)), _ADVICE[channel.name])
        else:
            yield about.passed(channel.name, f"{found}. To send a test: jobtool notify --test")
