"""An authority in front of an S3 server that issues session tokens and refuses expired ones.

A proxy answers STS's AssumeRole and S3 Control's GetDataAccess as AWS does, and checks the token of
each request to the server behind it. A token is valid for a number of requests, so that tests don't
depend on time.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from tests.faults.proxy import Answer, Fault, Forward, Request
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

ACCOUNT = "123456789012"
TOKEN = "session-token-of-tests"
EXPIRATION = "2999-11-20T14:31:00Z"
_ALWAYS = 10**9
_XML = [("Content-Type", "application/xml")]
_DATA_ACCESS = "/v20180820/accessgrantsinstance/dataaccess"


@dataclass(slots=True)
class Authority:
    """Issues tokens for the keys ``access_key`` and ``secret_key``, which the server behind knows.

    ``uses`` is how many requests a token is valid for; ``is_over`` may end one otherwise. ``asked``
    are the parameters of each request for credentials. ``accepted`` counts the requests by token,
    ``refused`` those with an expired one. While there is a ``refusal`` (status, code, message), no
    tokens are issued. If it ``is_late``, only the first refusal of a token is answered at once: the
    others are kept back until the next token is issued.
    """

    uses: int = _ALWAYS
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    is_over: Callable[[Request], bool] = lambda request: False
    refusal: tuple[int, str, str] | None = None
    is_late: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    _over: set[str] = field(default_factory=set)
    _refused: dict[str, threading.Event] = field(default_factory=dict)
    _targets: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def renewals(self) -> int:
        """How often the worker of one job must have renewed: once for each used-up token."""
        return len(self._over)

    def faults(self) -> list[Fault]:
        """What the proxy does with requests."""
        return [
            Fault(_is_for_credentials, self._give, times=_ALWAYS),
            Fault(self._is_expired, self.refuse_expired, times=_ALWAYS),
            Fault(self._is_outside, _deny, times=_ALWAYS),
        ]

    def _give(self, request: Request, forward: Forward) -> Answer:
        values = request.query | parse_qs(request.body.decode())
        asked = {name: value[0] for name, value in values.items()}
        asked["account"] = request.headers.get("x-amz-account-id", "")
        self.asked.append(asked)
        for renewed in list(self._refused.values()):
            renewed.set()
        if self.refusal is not None:
            status, code, message = self.refusal
            error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
            if "Action" in asked:
                error = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
            return Answer(status, _XML, error.encode())
        token = f"{TOKEN}-{next(self._numbers)}"
        credentials = (
            f"<Credentials><AccessKeyId>{self.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{self.secret_key}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>{EXPIRATION}</Expiration>"
            "</Credentials>"
        )
        if "Action" in asked:
            name = asked["Action"]
            return Answer(
                200,
                _XML,
                f"<{name}Response><{name}Result>{credentials}</{name}Result></{name}Response>".encode(),
            )
        self._targets[token] = asked["target"].removeprefix("s3:/").removesuffix("*")
        return Answer(
            200,
            _XML,
            f"<GetDataAccessResult>{credentials}</GetDataAccessResult>".encode(),
        )

    def _is_expired(self, request: Request) -> bool:
        token = _token_of(request)
        if token not in self._over:
            if self.accepted[token] < self.uses and not self.is_over(request):
                self.accepted[token] += 1
                return False
            self._over.add(token)
        self.refused += 1
        return True

    def refuse_expired(self, request: Request, forward: Forward) -> Answer:
        """A fault: say that the token has expired."""
        token = _token_of(request)
        if self.is_late and token in self._refused:
            self._refused[token].wait(10)
        self._refused.setdefault(token, threading.Event())
        # AWS names the token, too. An answer to HEAD has no body.
        error = (
            "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
            f"<Token-0>{escape(token)}</Token-0><RequestId>1</RequestId></Error>"
        )
        return Answer(400, _XML, b"" if request.method == "HEAD" else error.encode())

    def _is_outside(self, request: Request) -> bool:
        target = self._targets.get(_token_of(request))
        if target is None:
            return False
        bucket, _, key = request.path.lstrip("/").partition("/")
        name = key or request.query.get("prefix", [""])[0]
        return not f"/{bucket}/{name}".startswith(target)


def minting_script(folder: Path, *, works_times: int = _ALWAYS) -> Path:
    """Make a command that prints credentials with a token of the next number.

    Its ``folder`` holds the ``count`` of its runs. After ``works_times`` it fails, unless there is
    a file ``repaired``.
    """
    folder.mkdir(parents=True)
    document = {
        "Version": 1,
        "AccessKeyId": ACCESS_KEY,
        "SecretAccessKey": SECRET_KEY,
        "SessionToken": f"{TOKEN}-COUNT",
        "Expiration": EXPIRATION,
    }
    (folder / "template.json").write_text(json.dumps(document))
    (folder / "count").write_text("0\n")
    script = folder / "mint"
    script.write_text(
        f"""#!/bin/sh
cd '{folder}' || exit 9
count=$(($(cat count) + 1))
echo $count > count
if [ $count -gt {works_times} ] && [ ! -e repaired ]; then
    echo "the broker is down, {SECRET_KEY}" >&2
    exit 7
fi
sed "s/COUNT/$count/" template.json
"""
    )
    script.chmod(0o700)
    return script


def _token_of(request: Request) -> str:
    return request.headers.get("x-amz-security-token", "")


def _is_for_credentials(request: Request) -> bool:
    return request.path == _DATA_ACCESS or (
        request.method == "POST" and b"Action=AssumeRole" in request.body[:1000]
    )


def _deny(request: Request, forward: Forward) -> Answer:
    error = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    return Answer(403, _XML, b"" if request.method == "HEAD" else error)
