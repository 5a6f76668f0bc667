"""Credentials from our site's broker, separate for each job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from jobtool.errors import UsageError
from jobtool.stores.credentials.documents import decode_document
from jobtool.stores.credentials.provider import Credentials, CredentialScope, ProviderError


class Broker:
    """Asks a broker by HTTP. The answer is JSON, in the format of AWS's ``credential_process``."""

    name = "our-site"
    can_renew = True
    is_per_purpose = True  # its credentials are valid for one prefix only

    def __init__(self, url: str) -> None:
        self.url = url

    def fetch(self, scope: CredentialScope) -> Credentials:
        """Ask for access below the job's URL. Errors name the broker, and repeat no answer."""
        asked = {"job": scope.job, "url": scope.url, "permission": scope.permission}
        try:
            with urlopen(f"{self.url}?{urlencode(asked)}", timeout=30) as answer:
                text = answer.read().decode()
        except (URLError, TimeoutError, UnicodeDecodeError) as error:
            raise ProviderError(f"{self.url} gives no credentials: {error}") from None
        return decode_document(text, whose=self.url)


def make_provider(settings: Mapping[str, Any]) -> Broker:
    """Make the provider from the keys of ``[credentials]`` besides ``provider``."""
    if settings.keys() != {"url"}:
        raise UsageError(f"[credentials] of our-site: expected url; found {sorted(settings)}")
    return Broker(settings["url"])
