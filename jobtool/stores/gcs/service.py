"""Requests to the service, without the layers of Google's library.

The library's session takes 2 to 3 milliseconds of CPU for each request, several times as much as
this. A million small files need one request each.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import urlencode

import certifi

from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import BearerToken
from jobtool.stores.failures import AnswerError
from jobtool.stores.gcs.config import GcsSettings
from jobtool.stores.pools import ca_bundle_for, make_pool, trusted_in
from jobtool.stores.proxies import proxy_for

_XML = re.compile(rb"<Code>(\w{1,80})</Code>.*?<Message>([^<]*)", re.DOTALL)

Bytes = bytes | memoryview

#: Below this size a request is sent by one call. A larger one isn't copied first.
_JOINED_BYTES = 256 * 1024


class Service:
    """Google Cloud Storage, or a server like it, at ``url``. Any thread may use it.

    ``holder`` gives the credentials; None for requests without any. Contacts no server when it is
    made. Raises ``AnswerError`` for error answers, the errors of urllib3, ``CredentialsError``, and
    ``StoreSettingsError`` when it is made.
    """

    def __init__(
        self,
        url: str,
        settings: GcsSettings,
        holder: CredentialHolder | None,
        *,
        connections: int,
    ) -> None:
        self.url = url
        self.storage_class = settings.storage_class
        self._project = settings.user_project
        self._holder = holder
        self._pool = make_pool(
            proxy=proxy_for(self.url),
            trusted=trusted_in(ca_bundle_for(settings.ca_bundle, os.environ) or certifi.where()),
            connections=connections,
            timeout_seconds=settings.timeout_seconds,
        )

    def ask(
        self, method: str, place: str, query: Mapping[str, str], body: object = None
    ) -> dict[str, Any]:
        """Return the document that the JSON API answers; empty if it answers without one.

        ``body`` is sent as JSON. Raises ``ValueError`` for another document.
        """
        headers = {}
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        return self._document(self._send(method, place, query, headers, data))

    def upload(
        self, bucket: str, query: Mapping[str, str], resource: Mapping[str, Any], data: Bytes
    ) -> dict[str, Any]:
        """Write a whole object by one request. Return what the service says of it.

        ``resource`` holds the object's name, its MD5 and its metadata.
        """
        mark = secrets.token_hex(16)
        kind = resource.get("contentType", "application/octet-stream")
        head = (
            f"--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(resource)}\r\n--{mark}\r\nContent-Type: {kind}\r\n\r\n"
        )
        body: list[Bytes] = [head.encode(), data, f"\r\n--{mark}--\r\n".encode()]
        headers = {
            "content-type": f"multipart/related; boundary={mark}",
            "content-length": str(sum(map(len, body))),
        }
        if len(data) < _JOINED_BYTES:
            body = [b"".join(body)]
        told = {"uploadType": "multipart", **query}
        place = f"/upload/storage/v1/b/{bucket}/o"
        return self._document(self._send("POST", place, told, headers, body))

    def read(
        self, place: str, generation: str, offset: int, length: int
    ) -> tuple[Mapping[str, str], bytes]:
        """Return the headers of an object's generation and a range of its bytes, as stored.

        It is the XML API that tells the object's own metadata with its bytes.
        """
        headers = {
            "range": f"bytes={offset}-{offset + length - 1}",
            "x-goog-if-generation-match": generation,
            "accept-encoding": "gzip",  # else the service unpacks objects that are stored packed
        }
        answer = self._send("GET", place, {}, headers, None)
        return answer.headers, answer.data

    def _send(
        self,
        method: str,
        place: str,
        query: Mapping[str, str],
        headers: dict[str, str],
        body: bytes | Sequence[Bytes] | None,
    ) -> Any:
        told = dict(query)
        if self._project:
            headers["x-goog-user-project"] = self._project
            if place.startswith(("/storage/", "/upload/")):
                told["userProject"] = self._project
        url = self.url + place
        if told:
            url += f"?{urlencode(told, quote_via=percent_encode)}"
        headers["user-agent"] = "jobtool"
        seen = self._log_in(headers)
        answer = self._answer(method, url, headers, body)
        holder = self._holder
        if answer.status == 401 and holder is not None:
            holder.doubt(seen)
            if holder.provider.can_renew:
                holder.renew(seen)
                self._log_in(headers)
                answer = self._answer(method, url, headers, body)
        if not 200 <= answer.status < 300:
            raise _error_in(answer)
        return answer

    def _log_in(self, headers: dict[str, str]) -> int:
        """Add the current token to the headers of a request. Return its generation."""
        if self._holder is None:
            return 0
        self._holder.current()  # fetches them if they are due
        seen, current = self._holder.generation, self._holder.current()
        if isinstance(current, BearerToken):  # else the provider says: anonymous
            headers["authorization"] = f"Bearer {current.token}"
        return seen

    def _answer(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Sequence[Bytes] | None,
    ) -> Any:
        return self._pool.urlopen(
            method, url, headers=headers, body=body, redirect=False, decode_content=False
        )

    @staticmethod
    def _document(answer: Any) -> dict[str, Any]:
        if answer.status == 204 or not answer.data:
            return {}
        found = json.loads(answer.data)
        if found is None:  # as fake-gcs-server answers a removal
            return {}
        if isinstance(found, dict):
            return found
        raise ValueError("expected a JSON object")


def _error_in(answer: Any) -> AnswerError:
    code, message = _said(answer.data)
    return AnswerError(
        status=answer.status,
        code=code,
        message=message,
        is_genuine=bool(code) or "x-guploader-uploadid" in answer.headers,
    )


def _said(data: bytes) -> tuple[str, str]:
    """Return the code and the message of an error answer, in JSON or XML, as far as it has them."""
    found = _XML.search(data)
    if found is not None:
        return found.group(1).decode(), found.group(2).decode("utf-8", "replace")
    try:
        error = json.loads(data)["error"]
        first = (error.get("errors") or [{}])[0]
        return str(first.get("reason") or ""), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", ""
