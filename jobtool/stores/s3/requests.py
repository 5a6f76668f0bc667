"""Requests to a bucket, with renewed credentials, translated errors, paged listings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import botocore.exceptions
import obstore.exceptions

from jobtool.errors import CredentialsError, JobtoolError, ServerError
from jobtool.names import quote
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.errors import (
    CLIENT_ERRORS,
    Where,
    may_hide_expiry,
    tells_expiry,
    translate,
)

T = TypeVar("T")

#: How often a request is tried at most whose credentials expire each time before it is answered.
_MOST_TRIES = 5


class Requests:
    """Makes the requests of the store at ``url``, which is a bucket or a prefix of one."""

    def __init__(self, access: S3Access, bucket: str, url: str) -> None:
        self._access = access
        self._bucket = bucket
        self._url = url

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self._url}/{path}" if path else self._url

    def call(self, path: str, call: Callable[[], T]) -> T:
        """Return the result of a request. Repeat it if its credentials have expired.

        Once, as a rule; again if other requests have used up the renewed ones meanwhile.
        """
        holder = self._access.holder
        holder.current()
        tries = 0
        while True:
            seen = holder.generation
            tries += 1
            try:
                result = call()
            except JobtoolError:
                raise
            except CLIENT_ERRORS as error:
                if not self._is_worth_renewal(error, seen, tries):
                    raise self._translate(error, path) from None
            else:
                holder.accept(seen)
                return result
            self._access.renew(seen)

    def pages(
        self, path: str, ask: Callable[..., dict[str, Any]], marks: dict[str, str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing. ``marks`` maps arguments of the next request to fields.

        A page may be empty although the listing continues: only the server ends it. boto3's
        paginators aren't used, since a paginator that has failed reports no more pages.
        """
        more: dict[str, Any] = {}
        while True:
            page = self.call(path, lambda more=more: ask(**more))  # type: ignore[misc]
            yield page
            following = {name: page[mark] for name, mark in marks.items() if page.get(mark)}
            if not page.get("IsTruncated"):
                return
            if following in ({}, more):
                raise ServerError(
                    f"{quote(self.url_of(path))}: the server says that its listing continues, but "
                    "not where"
                )
            more = following

    def require(self, path: str, answer: Mapping[str, Any], *names: str) -> None:
        """Raise ``ServerError`` unless an answer has at least one of these fields."""
        if not any(name in answer for name in names):
            raise ServerError(
                f"{quote(self.url_of(path))}: {self._endpoint} answers without {names[0]}. Does "
                "something other than S3 answer, such as a proxy or a login page?"
            )

    def field(self, path: str, answer: Mapping[str, Any], name: str) -> Any:
        """Return a field of an answer. Raise ``ServerError`` if it is missing."""
        self.require(path, answer, name)
        return answer[name]

    @property
    def _endpoint(self) -> str:
        return str(self._access.client.meta.endpoint_url)

    def _is_worth_renewal(self, error: Exception, seen: int, tries: int) -> bool:
        """Return whether a request may succeed with newer credentials than generation ``seen``.

        Renewed ones that no request has succeeded with would be refused once more.
        """
        holder = self._access.holder
        if tries > 1:
            return tries < _MOST_TRIES and tells_expiry(error) and holder.was_accepted(seen)
        return tells_expiry(error) or (
            may_hide_expiry(error) and holder.keys().session_token is not None
        )

    def _translate(self, error: Exception, path: str) -> JobtoolError:
        if isinstance(error, obstore.exceptions.UnauthenticatedError):
            try:  # obstore hides the exception that its provider raised
                self._access.holder.current()
            except CredentialsError as ours:
                return ours
        return translate(
            error,
            self.url_of(path),
            Where(
                root=self._url,
                bucket=self._bucket,
                endpoint=self._endpoint,
                region=str(self._access.client.meta.region_name),
                find_region=self._find_region,
            ),
        )

    def _find_region(self) -> str:
        """Return the bucket's region as the server reports it, or "" if it doesn't."""
        # S3 names it in the answer to this request, even if it refuses the request.
        try:
            answer = self._access.client_asking_once.head_bucket(Bucket=self._bucket)
        except botocore.exceptions.ClientError as error:
            answer = error.response
        except CLIENT_ERRORS:
            return ""
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return str(headers.get("x-amz-bucket-region", ""))
