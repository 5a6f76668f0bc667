"""Access to S3: the clients that all stores of one configuration share."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import obstore.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from jobtool.errors import StoreSettingsError
from jobtool.names import quote
from jobtool.stores.credentials.aws import AnonymousProvider, EnvironmentProvider, profile_of
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.sessions import (
    place_of,
    read_times_fast,
    require_numbers,
    share_loader,
)
from jobtool.stores.proxies import as_botocore
from jobtool.stores.s3.config import S3Config, restore_of
from jobtool.stores.s3.connection import Address, address_of, resolve, settings_error
from jobtool.stores.s3.descriptions import Descriptions
from jobtool.stores.s3.fast import is_trusted, open_bucket, why_not

if TYPE_CHECKING:
    from obstore.store import S3Store as ObstoreBucket

#: The key of requests that are made only to see their address, and aren't sent.
_KEY = "jobtool"

#: Answers that come from the bucket's own region, even if they refuse the request.
_AT_HOME = frozenset({403, 404, 405, 501})

#: Error codes about the credentials themselves, not about their permissions.
_ABOUT_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)

#: Where the context of a request of boto3's keeps the generation of its credentials.
_GENERATION = "jobtool_generation"

#: The end of the names of directory buckets (S3 Express), whose ETags aren't MD5s.
_DIRECTORY = "--x-s3"

#: A bucket that obstore hasn't opened, of no generation.
_UNOPENED = -1, None

_CODE = re.compile(r"<Code>([^<]*)</Code>")


class S3Access:
    """What all stores of one ``S3Config`` share: credentials, boto3's clients, obstore buckets.

    Making one contacts no server. Raises ``StoreSettingsError`` for invalid settings in ``[s3]``,
    the environment or AWS's files, and ``CredentialsError`` for a missing profile.
    """

    def __init__(self, config: S3Config, holder: CredentialHolder, *, connections: int) -> None:
        self.holder = holder
        self.whole_md5 = config.whole_md5
        self.restore = restore_of(config)
        self._config = config
        self.is_lax_about_ranges = False  # detected at the first range that is read
        self.lists_times_of_metadata = False  # detected at the first object that is read
        self._buckets: dict[str, tuple[int, ObstoreBucket]] = {}
        self._addresses: dict[str, Address] = {}
        self._at_home: set[str] = set()  # buckets that have answered boto3 in their own region
        self._for_boto3_alone: set[str] = set()
        self._looking = threading.local()
        self._checksums: dict[str, bool] = {}  # whether objects are proven by them, by bucket
        self.descriptions = Descriptions(config.content_types, config.metadata)
        is_signed = not isinstance(holder.provider, AnonymousProvider)
        session = holder.botocore_session(
            reads_profile=not isinstance(holder.provider, EnvironmentProvider)
        )
        try:
            profile = config.profile or profile_of(holder.provider)
            if profile:  # its region and endpoint count as well
                session.set_config_variable("profile", profile)
            require_numbers(session)
            _require_table(session)
            share_loader(session)
            read_times_fast(session)
            self._session = session
            plain = self._make_client(_endpoints(config))
            self.connection = resolve(config, session, plain.meta.endpoint_url, is_signed=is_signed)
            #: Whether obstore can't make objects as the settings say.
            self.only_boto3_writes = self.connection.arguments.only_boto3_writes
            ca_bundle = self.connection.ca_bundle
            # AWS's endpoints choose the signature themselves: there are others (S3 Express, ARNs).
            signature = (None if self.connection.is_aws else "s3v4") if is_signed else UNSIGNED
            settings = _endpoints(config, self.connection.addressing_style).merge(
                Config(
                    signature_version=signature,
                    proxies=as_botocore(self.connection.endpoint_url, self.connection.proxy),
                    max_pool_connections=connections,
                    connect_timeout=10,
                    read_timeout=config.timeout_seconds,
                    retries={"mode": "standard", "total_max_attempts": 3},
                    **self.connection.checksums,
                )
            )
            self.client = self._make_client(settings, ca_bundle)
            #: For requests that must not be retried silently: that would leave an upload behind.
            #: Made now, like the other one: the environment may change later.
            once = Config(retries={"mode": "standard", "total_max_attempts": 1})
            self.client_asking_once = self._make_client(settings.merge(once), ca_bundle)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise settings_error(error, config) from None
        except (AttributeError, KeyError, TypeError) as error:  # a table at a wrong place
            raise StoreSettingsError(
                f"{place_of(session)}: its settings can't be used: {type(error).__name__}: {error}"
            ) from None
        self.client.meta.events.register("before-send.s3.HeadObject", self._look)

    def _make_client(self, config: Config, ca_bundle: str | None = None) -> Any:
        client = self._session.create_client(
            "s3",
            endpoint_url=self._config.endpoint_url,
            region_name=self._config.region,
            verify=ca_bundle or True,  # True: botocore's bundle. Verification is never disabled
            config=config,
        )
        events = client.meta.events
        events.register("before-call.s3", self._note_generation)
        events.register("after-call.s3", self._note_answer)
        events.register("before-parameter-build.s3", self._add_arguments)
        return client

    def renew(self, seen: int) -> None:
        """Ensure that the credentials are newer than generation ``seen``.

        Raises ``CredentialsError``.
        """
        self.holder.renew(seen)

    def has_checksums(self, bucket: str) -> bool | None:
        """Return whether new objects need checksums as proof, since ETags aren't MD5s.

        None as long as no object was written.
        """
        known = self._checksums.get(bucket)
        if known is None and (self.connection.arguments.hides_md5 or bucket.endswith(_DIRECTORY)):
            return True
        return known

    def note_checksums(self, bucket: str, is_proof: bool) -> None:
        """Record whether a server proves a bucket's objects by their checksums."""
        self._checksums[bucket] = is_proof

    def is_for_obstore(self, name: str) -> bool:
        """Return True if obstore can be configured like boto3. If not, boto3 handles the bucket.

        Raises the errors of boto3, which contacts the bucket first.
        """
        return self._open(name) is not None

    def is_open(self, name: str) -> bool:
        """Return True if obstore's view of a bucket is there already, with current credentials."""
        opened, _ = self._buckets.get(name, _UNOPENED)
        return opened == self.holder.generation

    def obstore(self, name: str) -> _InUse:
        """Return obstore's view of a bucket, with credentials no older than the holder's.

        Use it in a ``with`` statement.
        """
        seen = self.holder.generation
        bucket = self._open(name)
        assert bucket is not None, "ask is_for_obstore() first"
        return _InUse(bucket, lambda code: self._note_refusal(code, seen))

    def _open(self, name: str) -> ObstoreBucket | None:
        if name in self._for_boto3_alone:
            return None
        generation = self.holder.generation
        # obstore caches credentials, so that a bucket opened before has the old ones.
        opened, bucket = self._buckets.get(name, _UNOPENED)
        if bucket is not None and opened == generation:
            return bucket
        address = self._addresses.get(name) or self._find_address(name)
        if address is None or why_not(address, self.connection) is not None:
            self._for_boto3_alone.add(name)
            return None
        is_new = bucket is None
        bucket = open_bucket(name, address, self.connection, self.holder)
        if is_new and self.connection.ca_bundle:
            trusted = is_trusted(bucket, _KEY)
            if trusted is False:
                self._for_boto3_alone.add(name)
            if not trusted:  # use boto3 this time; without an answer, try again next time
                return None
        self._buckets[name] = generation, bucket
        return bucket

    def _find_address(self, name: str) -> Address | None:
        """Let boto3 find the bucket's region, then see where it sends requests."""
        if name.endswith(_DIRECTORY):
            return None  # S3 Express: boto3 makes sessions for each bucket
        if name not in self._at_home:
            # After an answer from the wrong region boto3 finds the right one, and caches it.
            try:
                self.client.list_objects_v2(Bucket=name, MaxKeys=1)
            except botocore.exceptions.ClientError:
                if name not in self._at_home:
                    raise
        self._looking.request = None
        self._looking.is_on = True
        try:
            self.client.head_object(Bucket=name, Key=_KEY)
        except _Seen:
            address = address_of(self._looking.request, _KEY)
        else:
            return None
        finally:
            self._looking.is_on = False
        self._addresses[name] = address
        return address

    def _look(self, request: Any, **_: object) -> None:
        if getattr(self._looking, "is_on", False):
            self._looking.request = request
            raise _Seen

    def _note_answer(self, context: Any, http_response: Any, parsed: Any, **_: object) -> None:
        status = http_response.status_code
        name = context.get("s3_redirect", {}).get("bucket")
        if name and (status < 300 or status in _AT_HOME):
            self._at_home.add(name)
        seen = context.get(_GENERATION, 0)
        self._note_refusal(str(parsed.get("Error", {}).get("Code", "")), seen)

    def _note_generation(self, context: Any, **_: object) -> None:
        context[_GENERATION] = self.holder.generation

    def _note_refusal(self, code: str, seen: int) -> None:
        """Make the next job fetch new credentials if a server's error code is about these."""
        if code in _ABOUT_CREDENTIALS:
            self.holder.doubt(seen)

    def _add_arguments(self, params: dict[str, Any], model: Any, **_: object) -> None:
        told = self.connection.arguments.of(model.name, model.input_shape.members)
        params.update({name: value for name, value in told.items() if name not in params})


def _endpoints(config: S3Config, addressing_style: str | None = None) -> Config:
    """Return botocore's settings of how endpoints are chosen. Those not told are AWS's own."""
    told = {
        "addressing_style": addressing_style,
        "use_accelerate_endpoint": config.accelerate,
        "use_dualstack_endpoint": config.dualstack,
    }
    express = {}
    if config.express_sessions is not None:  # older versions of botocore don't know it
        express["s3_disable_express_session_auth"] = not config.express_sessions
    return Config(
        s3={name: value for name, value in told.items() if value is not None} or None,
        use_fips_endpoint=config.fips,
        **express,
    )


def _require_table(session: Any) -> None:
    """Refuse a profile whose ``s3`` isn't a table: botocore expects one."""
    found = session.get_scoped_config().get("s3", {})
    if not isinstance(found, Mapping):
        raise StoreSettingsError(
            f"{place_of(session)}, s3: expected settings in indented lines below it, as in "
            f"addressing_style = path; found {quote(str(found)[:50])}"
        )


class _InUse:
    """A bucket of obstore's for a request. ``refused`` is called with the code of an error."""

    __slots__ = ("_bucket", "_refused")

    def __init__(self, bucket: ObstoreBucket, refused: Callable[[str], None]) -> None:
        self._bucket, self._refused = bucket, refused

    def __enter__(self) -> ObstoreBucket:
        return self._bucket

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if isinstance(error, obstore.exceptions.BaseError):
            code = _CODE.search(str(error))
            self._refused(code[1] if code else "")


class _Seen(Exception):  # noqa: N818 - not an error: it ends a request before it is sent
    """A request was recorded and must not be sent."""
