"""The login of requests: the credentials that Google's own library finds, renewed by it.

It looks at the file that ``GOOGLE_APPLICATION_CREDENTIALS`` names, at the login of ``gcloud auth
application-default login``, and at the service account of the machine. Source: Google, "How
Application Default Credentials works".
"""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from typing import Any

import google.auth
from google.auth.transport.requests import Request

from jobtool.redact import redact

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)


class Login:
    """Adds a login to the headers of requests. Any thread may use it.

    ``project`` is the one that is billed. Nothing is looked for before the first request. Raises
    the errors of google-auth.
    """

    def __init__(self, project: str | None) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._request: Any = None
        self._token: str | None = None

    def add_to(self, headers: MutableMapping[str, str], method: str, url: str) -> None:
        """Add the current token to the headers of a request. Renews one that is due."""
        with self._lock:
            if self._credentials is None:
                self._request = Request()
                self._credentials, _ = google.auth.default(
                    scopes=_SCOPES, request=self._request, quota_project_id=self._project
                )
            self._credentials.before_request(self._request, method, url, headers)
            self._tell_secret()

    def renew(self, headers: MutableMapping[str, str]) -> None:
        """Replace a token that the service has refused, unless another thread has done so."""
        with self._lock:
            if headers.get("authorization", "").endswith(str(self._token)):
                self._credentials.refresh(self._request)
            self._credentials.apply(headers)
            self._tell_secret()

    def _tell_secret(self) -> None:
        if self._credentials.token != self._token:
            self._token = self._credentials.token
            redact.learn(self._token)
