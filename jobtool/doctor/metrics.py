"""The checks of metrics: whether workers can write and send them from here.

None of them fails: a transfer works without metrics.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from jobtool.doctor.checkresult import CheckResult, Subject
from jobtool.errors import reason_of
from jobtool.jobs.metricssettings import TOKEN_VARIABLE, MetricsSettings, address_of
from jobtool.metrics.influx import post
from jobtool.redact import redact

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def metrics_results(settings: MetricsSettings) -> Iterator[CheckResult]:
    """Yield a result for each place that ``[metrics]`` names, as this node reaches it."""
    if settings.textfile is not None:
        yield _textfile(settings.textfile)
    if settings.influx is not None:
        yield from _influx(settings.influx)
    if settings.statsd is not None:
        yield _statsd(settings.statsd)


def _textfile(folder: str) -> CheckResult:
    about = Subject("metrics", folder)
    path = os.path.join(folder, f".jobtool-doctor-{secrets.token_hex(6)}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        os.unlink(path)
    except OSError as error:
        advice = (
            "Make the folder on this node, writable for you and readable for node_exporter, and "
            "start node_exporter with --collector.textfile.directory and its path."
        )
        return about.warned("write", f"can't write there: {reason_of(error)}", advice)
    return about.passed("write", "a file was created and removed")


def _influx(url: str) -> Iterator[CheckResult]:
    about, parts = Subject("metrics", redact(url)), urlsplit(url)
    has_token = bool(os.environ.get(TOKEN_VARIABLE))
    if has_token and parts.scheme == "http" and parts.hostname not in _THIS_MACHINE:
        found = f"{TOKEN_VARIABLE} is sent without encryption"
        yield about.warned("token", found, "Use https, or a network that you trust.")
    try:
        import influxdb_client  # noqa: F401

        status, text = post(url, b"")
    except ImportError:
        advice = "Install it where workers run: pip install 'jobtool[metrics]'"
        yield about.warned("answer", "the package influxdb-client is missing", advice)
        return
    except Exception as error:
        yield about.warned(
            "answer", redact(str(error)), "Does the server run, and may this node reach its port?"
        )
        return
    yield _answered(about, status, text, has_token=has_token)


def _answered(about: Subject, status: int, text: str, *, has_token: bool) -> CheckResult:
    """Judge the answer to a request without points: some versions accept it, others say 400."""
    check, found = "answer", f"it answers {status}{': ' + text if text else ''}"
    if 200 <= status < 300 or status == 400:
        return about.passed(check, f"it answers a request without points by {status}")
    if status in (401, 403):
        which = "another token" if has_token else "a token that may write"
        return about.warned(check, found, f"Set {which} in {TOKEN_VARIABLE}, where workers run.")
    if status == 404:
        return about.warned(check, found, "Correct the path, the organisation or the bucket.")
    return about.warned(check, found, "Ask who runs the server; workers go on without it.")


def _statsd(address: str) -> CheckResult:
    about = Subject("metrics", address)
    host, port = address_of(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        return about.warned("address", f"no address: {reason_of(error)}", "Correct the host.")
    return about.passed("address", f"{found[0][4][0]}; whether anything listens can't be seen")
