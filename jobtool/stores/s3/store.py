"""S3 and what speaks its protocol.

Two clients on purpose. boto3 is the control plane (listing, multipart) and sends parts; whole
objects go through obstore, which needs a tenth of boto3's CPU for each. Both sign with the same
credentials. obstore refuses or rewrites some keys that S3 allows; those go through boto3.

A single PUT is proven by its ETag where that is the object's MD5, several parts by the MD5 that
the store gave for each and for their composition; where ETags are no MD5 (SSE-KMS, SSE-C, other
servers) the object is read back. Every object carries ``mtime`` (seconds, as rclone writes it) and
``md5chksum`` (base64, likewise) in its metadata, so that ``rclone check`` can audit it.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import obstore
import obstore.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    SourceChangedError,
    SourceError,
    StoreError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.names import quote
from jobtool.stores.credentials.aws import AWS_HOST, AnonymousProvider, profile_of
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import Purpose
from jobtool.stores.s3.config import S3Config
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Kind,
    Part,
    Proof,
    Special,
    Upload,
    check_path,
    composite_md5,
    digest_by_reading,
    require_same,
)

if TYPE_CHECKING:
    from obstore.store import S3Store as ObstoreBucket

T = TypeVar("T")

_MD5 = re.compile(r"[0-9a-f]{32}")
# What obstore's paths don't take as it is: control characters, empty or dot segments, a slash at
# either end.
_NOT_FOR_OBSTORE = re.compile(r"[\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")
_CLOCK_SKEW_NS = 15 * 60 * 1_000_000_000
_MTIME = re.compile(r"(-?)(\d{1,10})(?:\.(\d{1,9})\d*)?")
_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")

_DENIED = "check the credentials and what they are allowed to do"
_CREDENTIAL_CODES = {
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "ExpiredToken": "log in again",
    "ExpiredTokenException": "log in again",
    "InvalidAccessKeyId": "check the credentials and the endpoint that they belong to",
    "InvalidToken": "log in again",
    "RequestExpired": "log in again, and check this machine's clock",
    "RequestTimeTooSkewed": "check this machine's clock",
    "SignatureDoesNotMatch": "check the secret key and the endpoint",
    "TokenRefreshRequired": "log in again",
    "401": _DENIED,
    "403": _DENIED,
}
#: What is said of credentials that were good once.
_EXPIRED_CODES = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")

_CLIENT_ERRORS = (
    botocore.exceptions.ClientError,
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.HTTPClientError,
    obstore.exceptions.BaseError,
    FileNotFoundError,
    ValueError,
)
_SERVER_CODES = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "429")


class S3Access:
    """What all stores of one ``S3Config`` share: credentials, a boto3 client, obstore buckets."""

    def __init__(self, config: S3Config, holder: CredentialHolder, *, connections: int) -> None:
        self.holder = holder
        self._config = config
        self._is_signed = not isinstance(holder.provider, AnonymousProvider)
        signature = "s3v4" if self._is_signed else UNSIGNED
        self.is_lax_about_ranges = False  # found out at the first range that is read
        self._buckets: dict[str, tuple[int, ObstoreBucket]] = {}
        self._regions: dict[str, str] = {}
        session = self.holder.botocore_session()
        profile = config.profile or profile_of(holder.provider)
        if profile:  # its region and endpoint count as well
            session.set_config_variable("profile", profile)
        scoped = _scoped_config(session)
        # One for both clients: each boto3 session adds its methods to the botocore session's.
        self._session = boto3.Session(botocore_session=session)
        self._ca_bundle = (
            config.ca_bundle or os.environ.get("AWS_CA_BUNDLE") or scoped.get("ca_bundle")
        )
        if self._ca_bundle and not os.path.isfile(self._ca_bundle):
            raise StoreUnavailableError(
                f"expected a file of certificates at {quote(self._ca_bundle)}; found none. Correct "
                "[s3] ca_bundle in joblist.toml, or AWS_CA_BUNDLE."
            )
        plain = self._make_client(Config(signature_version=signature))
        self.is_aws = bool(AWS_HOST.search(urlsplit(plain.meta.endpoint_url).hostname or ""))
        self.addressing_style = (
            config.addressing_style
            or (scoped.get("s3") or {}).get("addressing_style")
            or ("auto" if self.is_aws else "path")
        )
        settings = Config(
            signature_version=signature,
            s3={"addressing_style": self.addressing_style},
            max_pool_connections=connections,
            connect_timeout=10,
            read_timeout=config.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 3},
            **self._checksum_settings(scoped),
        )
        self.client = self._make_client(settings)
        #: For what must not be asked twice behind our back: each answer lost would leave an upload.
        self.client_asking_once = self._make_client(
            settings.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        )

    def _make_client(self, config: Config) -> Any:
        return self._session.client(
            "s3",
            endpoint_url=self._config.endpoint_url,
            region_name=self._config.region,
            verify=self._ca_bundle,  # None is botocore's own bundle; it is never switched off
            config=config,
        )

    def _checksum_settings(self, scoped: dict[str, Any]) -> dict[str, Any]:
        names = ("request_checksum_calculation", "response_checksum_validation")
        if self._config.checksums:
            return dict.fromkeys(names, self._config.checksums)
        told = any(f"AWS_{name.upper()}" in os.environ or name in scoped for name in names)
        return {} if told or self.is_aws else dict.fromkeys(names, "when_required")

    def begin(self, purpose: Purpose) -> None:
        """Have fresh credentials for another purpose. Raises ``CredentialsError``."""
        self.holder.begin(purpose)

    def reach(self, purpose: Purpose) -> None:
        """Have credentials that are good for another purpose. Raises ``CredentialsError``."""
        self.holder.reach(purpose)

    def renew(self, seen: int) -> None:
        """Make sure that credentials are newer than generation ``seen``.

        Raises ``CredentialsError``.
        """
        self.holder.renew(seen)

    def bucket(self, name: str) -> ObstoreBucket:
        """Return obstore's view of a bucket, with no older credentials than the holder's."""
        generation = self.holder.generation
        # obstore keeps credentials for a while, so that one opened before has the old ones.
        opened, bucket = self._buckets.get(name, (-1, None))
        if bucket is None or opened != generation:
            bucket = self._open_bucket(name)
            self._buckets[name] = generation, bucket
        return bucket

    def _open_bucket(self, name: str) -> ObstoreBucket:
        from obstore.store import S3Store as ObstoreBucket

        endpoint = urlsplit(self.client.meta.endpoint_url)
        virtual = self.addressing_style == "virtual" or (
            self.addressing_style == "auto" and "." not in name
        )
        settings: dict[str, Any] = {
            "region": self._region_of(name),
            "virtual_hosted_style_request": virtual,
        }
        if not self.is_aws:
            host = f"{name}.{endpoint.netloc}" if virtual else endpoint.netloc
            settings["endpoint"] = f"{endpoint.scheme}://{host}{endpoint.path}"
        options: dict[str, Any] = {
            "allow_http": endpoint.scheme == "http",
            "connect_timeout": timedelta(seconds=10),
            "read_timeout": timedelta(seconds=self._config.timeout_seconds),
            "timeout": timedelta(minutes=10),
        }
        if self._ca_bundle:
            with open(self._ca_bundle, "rb") as file:
                options["root_certificate"] = file.read()
        signing: dict[str, Any] = {"skip_signature": True}
        if self._is_signed:
            signing = {"credential_provider": self.holder.for_obstore}
        return ObstoreBucket(
            name,
            client_options=options,  # type: ignore[arg-type]
            # Retries on top are the transfer's; these bridge a dropped connection.
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)},
            **signing,
            **settings,
        )

    def _region_of(self, bucket: str) -> str:
        # AWS answers requests at the wrong region with a redirect, which obstore doesn't follow.
        # The answer names the region, even where it is a refusal.
        default: str = self.client.meta.region_name or "us-east-1"
        if not self.is_aws or self._config.region:
            return default
        if bucket not in self._regions:
            try:
                answer = self.client.head_bucket(Bucket=bucket)
            except botocore.exceptions.ClientError as error:
                answer = error.response
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self._regions[bucket] = str(headers.get("x-amz-bucket-region", default))
        return self._regions[bucket]


class S3Store:
    """A bucket, or a prefix of one; with ``read_back`` ETags are no proof."""

    capabilities = Capabilities(
        attributes_first=True,
        cheap_reads=False,
        leaves_temporaries=False,
        specials=frozenset(),
    )

    def __init__(
        self,
        access: S3Access,
        bucket: str,
        prefix: str = "",
        *,
        read_back: bool = False,
    ) -> None:
        self._read_back = read_back
        self._access = access
        self._client = access.client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url}/{path}" if path else self.url

    def _key(self, path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise FileError(
                f"{quote(self.url_of(path))}: S3 keys are UTF-8, and this name is not. "
                "Rename the file."
            ) from None
        key = self._prefix + path
        if len(key.encode()) > 1024:
            raise FileError(f"{quote(self.url_of(path))}: S3 keys have at most 1024 bytes")
        return key

    def kind(self, path: str) -> Kind:
        """Tell what is at ``path``."""
        if path:
            try:
                self.head(path)
            except NotFoundError:
                pass
            else:
                return "file"
        inside = f"{self._key(path)}/" if path else self._prefix
        answer = self._call(
            path,
            lambda: self._client.list_objects_v2(Bucket=self._bucket, Prefix=inside, MaxKeys=1),
        )
        return "folder" if answer.get("Contents") else "missing"

    def children(self, path: str) -> Iterator[Child]:
        """Yield what is directly inside ``path``."""
        inside = f"{self._key(path)}/" if path else self._prefix
        found: set[tuple[str, bool]] = set()
        for page in self._pages(path, Prefix=inside, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                found.add((item["Prefix"][len(inside) : -1], True))
            for item in page.get("Contents", ()):
                found.add((item["Key"][len(inside) :], False))
        found.discard(("", False))  # a marker that makes an empty folder visible
        if not found:
            raise NotFoundError(f"expected a folder at {quote(self.url_of(path))}; found nothing")
        yield from (Child(name, is_folder) for name, is_folder in sorted(found))

    def list(self) -> Iterator[Entry | Special]:
        """Yield every object below the root, a thousand to a request."""
        for page in self._pages("", Prefix=self._prefix):
            for item in page.get("Contents", ()):
                path = item["Key"][len(self._prefix) :]
                if path.endswith("/") or not path:
                    if item["Size"] == 0:  # the marker of a folder, mostly an empty one
                        if path:
                            yield Special(path.rstrip("/"), "empty-folder")
                        continue
                    raise SourceError(
                        f"{quote(self.url_of(path))}: expected no bytes under a name that ends "
                        f"in a slash; found {item['Size']}"
                    )
                modified_ns = _in_whole_seconds(item["LastModified"])
                yield Entry(path, item["Size"], modified_ns, _etag(item.get("ETag")))

    def _pages(self, path: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        yield from self._all_pages(
            path,
            lambda **more: self._client.list_objects_v2(Bucket=self._bucket, **arguments, **more),
            {"ContinuationToken": "NextContinuationToken"},
        )

    def _all_pages(
        self, path: str, ask: Callable[..., dict[str, Any]], marks: dict[str, str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing; ``marks`` says what of one goes into the next request.

        Not boto3's paginators: one of those that has failed says that there are no more pages.
        """
        more: dict[str, Any] = {}
        while True:
            page = self._call(path, lambda more=more: ask(**more))  # type: ignore[misc]
            yield page
            following = {name: page[mark] for name, mark in marks.items() if page.get(mark)}
            if not page.get("IsTruncated"):
                return
            if following in ({}, more):
                raise StoreError(
                    f"{quote(self.url_of(path))}: the server says that its listing goes on, and "
                    "not where"
                )
            more = following

    def head(self, path: str) -> Entry:
        """Return one object's entry."""
        key = self._key(path)
        found = self._call(path, lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        return Entry(path, found["ContentLength"], _in_whole_seconds(found["LastModified"]))

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of an object by one ranged GET."""
        key = self._key(entry.path)
        by_boto3 = length == 0 or (self._access.is_lax_about_ranges and length != entry.size)
        if by_boto3 or _NOT_FOR_OBSTORE.search(key):
            data, size, modified, metadata = self._read_by_boto3(entry.path, key, offset, length)
        else:
            data, size, modified, metadata = self._call(
                entry.path, lambda: self._read_by_obstore(entry, key, offset, length)
            )
        is_same = size == entry.size and _in_whole_seconds(modified) == entry.mtime_ns
        if not is_same and not (size == entry.size and self._still_lists(entry, key)):
            raise SourceChangedError(
                f"{quote(self.url_of(entry.path))} was changed meanwhile: listed with {entry.size} "
                f"bytes, now {size} bytes, or with another time"
            )
        if len(data) != length:
            raise StoreError(
                f"{quote(self.url_of(entry.path))}: expected {length} bytes; received {len(data)}"
            )
        return Content(data=data, attributes=_attributes(metadata, entry.mtime_ns))

    def _still_lists(self, entry: Entry, key: str) -> bool:
        # rclone's server lists the time in an object's metadata, and answers with that of the PUT.
        answer = self._call(
            entry.path,
            lambda: self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1),
        )
        found = (
            (item["Key"], item["Size"], _in_whole_seconds(item["LastModified"]))
            for item in answer.get("Contents", ())
        )
        return (key, entry.size, entry.mtime_ns) in found

    def _read_by_obstore(
        self, entry: Entry, key: str, offset: int, length: int
    ) -> tuple[bytes | memoryview, int, datetime, dict[str, str]]:
        bucket = self._access.bucket(self._bucket)
        try:
            if length == entry.size:
                result = obstore.get(bucket, key)
            else:
                result = obstore.get(bucket, key, options={"range": (offset, offset + length)})
        except obstore.exceptions.GenericError as error:
            if "non-partial response" not in str(error):
                raise
            # Some servers answer with a range but call it whole (200), which obstore refuses.
            self._access.is_lax_about_ranges = True
            return self._read_by_boto3(entry.path, key, offset, length)
        size, modified = result.meta["size"], result.meta["last_modified"]
        # An object that has grown isn't read to its end.
        data = memoryview(result.bytes()) if size == entry.size else memoryview(b"")
        attributes = {name.lower(): value for name, value in result.attributes.items()}
        return data, size, modified, attributes

    def _read_by_boto3(
        self, path: str, key: str, offset: int, length: int
    ) -> tuple[bytes | memoryview, int, datetime, dict[str, str]]:
        where = {"Bucket": self._bucket, "Key": key}
        if length == 0:
            found = self._call(path, lambda: self._client.head_object(**where))
            return b"", found["ContentLength"], found["LastModified"], _metadata(found)
        span = f"bytes={offset}-{offset + length - 1}"
        found = self._call(path, lambda: self._client.get_object(**where, Range=span))
        data = self._call(path, found["Body"].read)
        if "ContentRange" not in found:  # a server that doesn't know ranges sends everything
            return (
                data[offset : offset + length],
                len(data),
                found["LastModified"],
                _metadata(found),
            )
        size = int(found["ContentRange"].rpartition("/")[2])
        return data, size, found["LastModified"], _metadata(found)

    def put(self, path: str, data: bytes | memoryview, attributes: Attributes) -> Proof:
        """Write a whole object by one PUT."""
        key = self._key(check_path(path))
        metadata = _to_metadata(attributes)
        if _NOT_FOR_OBSTORE.search(key):
            answer = self._call(
                path,
                lambda: self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=bytes(data),
                    Metadata=metadata,
                    ContentMD5=metadata["md5chksum"],
                    **_condition(attributes),
                ),
            )
            etag = _etag(answer.get("ETag"))
        else:
            result = self._call(
                path,
                lambda: obstore.put(
                    self._access.bucket(self._bucket),
                    key,
                    data,
                    attributes=metadata,
                    use_multipart=False,
                    mode="overwrite" if attributes.may_replace else "create",
                ),
            )
            etag = _etag(result["e_tag"])
        return self._proof_by_etag(etag, attributes.md5) or self._proof_by_reading(
            path, attributes, etag
        )

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a multipart upload; its metadata can't be changed any more."""
        key = self._key(check_path(path))
        answer = self._call(
            path,
            lambda: self._access.client_asking_once.create_multipart_upload(
                Bucket=self._bucket, Key=key, Metadata=_to_metadata(attributes)
            ),
        )
        return Upload(path=path, token=answer["UploadId"], attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Send one part with its ``Content-MD5``, which the server checks."""
        try:
            answer = self._call(
                upload.path,
                lambda: self._client.upload_part(
                    **self._where(upload),
                    PartNumber=number,
                    Body=bytes(data),
                    ContentMD5=_base64(md5),
                ),
            )
        except NotFoundError as error:
            raise StoreError(f"the upload was dropped at the server: {error}") from None
        etag = _etag(answer.get("ETag"))
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=etag)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Complete a multipart upload."""
        assert attributes.md5 is not None, "complete() needs the MD5 of the whole"
        ordered = sorted(parts, key=lambda part: part.number)
        named = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in ordered]
        composite = composite_md5(ordered)
        try:
            answer = self._call(
                upload.path,
                lambda: self._client.complete_multipart_upload(
                    **self._where(upload),
                    MultipartUpload={"Parts": named},
                    **_condition(attributes),
                ),
            )
        except NotFoundError as error:
            # An earlier completion may have succeeded without its answer reaching us.
            proof = self.prove(upload.path, attributes.md5, composite)
            if proof is None:
                raise StoreError(f"the upload was dropped at the server: {error}") from None
            return proof
        etag = _etag(answer.get("ETag"))
        return self._proof_by_etag(etag, attributes.md5, composite) or self._proof_by_reading(
            upload.path, attributes, etag
        )

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that ``ListParts`` tells with the ETags that we were given."""
        held: dict[int, tuple[int, str | None]] = {}
        where = self._where(upload)
        for page in self._all_pages(
            upload.path,
            lambda **more: self._client.list_parts(**where, **more),
            {"PartNumberMarker": "NextPartNumberMarker"},
        ):
            for part in page.get("Parts", ()):
                held[part["PartNumber"]] = (part["Size"], _etag(part["ETag"]))
        return [part for part in parts if held.get(part.number) == (part.size, part.etag)]

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the multipart uploads of this very key, begun since then by the server's clock."""
        key = self._key(path)
        pages = self._all_pages(
            path,
            lambda **more: self._client.list_multipart_uploads(
                Bucket=self._bucket, Prefix=key, **more
            ),
            {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
        )
        found: list[Upload] = []
        try:
            for page in pages:
                for item in page.get("Uploads", ()):
                    begun_ns = _in_whole_seconds(item["Initiated"])
                    if item["Key"] == key and begun_ns >= since_ns - _CLOCK_SKEW_NS:
                        attributes = Attributes(mtime_ns=begun_ns)
                        token = item["UploadId"]
                        found.append(Upload(path=path, token=token, attributes=attributes))
        except NotFoundError:  # what rclone's server says of a bucket without any upload
            return []
        return found

    def is_leftover(self, path: str) -> bool:
        """Tell that nothing is: uploads aren't listed."""
        return False

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove an object by its ETag, or by reading it where that is no MD5 of ours."""
        key = self._key(path)
        try:
            head = self._call(path, lambda: self._client.head_object(Bucket=self._bucket, Key=key))
            etag = _etag(head.get("ETag"))
            proof = self._proof_by_etag(etag, md5, composite)
            if proof is not None:
                return proof
            if self.digest(path) != md5:
                return None
        except NotFoundError:
            return None
        return Proof(md5=md5, verified_by="read-back", etag=etag)

    def make_special(self, special: Special) -> None:
        """Refuse: there is nothing but objects here."""
        raise FileError(f"{quote(self.url_of(special.path))}: S3 has no {special.what}")

    def _where(self, upload: Upload) -> dict[str, str]:
        return {
            "Bucket": self._bucket,
            "Key": self._key(upload.path),
            "UploadId": upload.token,
        }

    def _proof_by_etag(
        self, etag: str | None, md5: str | None, composite: str | None = None
    ) -> Proof | None:
        """Return what an ETag proves; some servers give the MD5 of the whole for parts, too."""
        if etag is None or md5 is None or self._read_back:
            return None
        if etag.lower() == md5:
            return Proof(md5=md5, verified_by="etag-md5", etag=etag)
        if etag.lower() == composite:
            return Proof(md5=md5, verified_by="multipart-etag", etag=etag)
        return None

    def _proof_by_reading(self, path: str, attributes: Attributes, etag: str | None) -> Proof:
        found = self.digest(path)
        try:
            require_same(self.url_of(path), sent=attributes.md5, found=found)
        except DigestMismatchError:
            self.delete(path)
            raise
        return Proof(md5=found, verified_by="read-back", etag=etag)

    def abort(self, upload: Upload) -> None:
        """Abort a multipart upload."""
        try:
            self._call(
                upload.path,
                lambda: self._client.abort_multipart_upload(**self._where(upload)),
            )
        except NotFoundError:
            return

    def digest(self, path: str) -> str:
        """Read an object and return its MD5."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove an object."""
        key = self._key(check_path(path))
        self._call(path, lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def sync(self) -> None:
        """Do nothing: what S3 has acknowledged is durable."""

    def _call(self, path: str, call: Callable[[], T]) -> T:
        """Return what a request returns; once more if its credentials have expired meanwhile."""
        holder = self._access.holder
        holder.current()
        seen = holder.generation
        try:
            return call()
        except JobtoolError:
            raise
        except _CLIENT_ERRORS as error:
            if not self._may_have_expired(error):
                raise self._translate(error, path) from None
        self._access.renew(seen)
        try:
            return call()
        except _CLIENT_ERRORS as error:
            raise self._translate(error, path) from None

    def _may_have_expired(self, error: Exception) -> bool:
        code, _ = _code_and_status(error)
        # An answer to HEAD has no body, and so no code but its status.
        is_head = code == "400" and getattr(error, "operation_name", "").startswith("Head")
        return code in _EXPIRED_CODES or (
            is_head and self._access.holder.current().session_token is not None
        )

    def _translate(self, error: Exception, path: str) -> JobtoolError:
        if isinstance(error, obstore.exceptions.UnauthenticatedError):
            try:  # obstore turns what its provider raises into its own
                self._access.holder.current()
            except CredentialsError as ours:
                return ours
        if isinstance(error, botocore.exceptions.ParamValidationError):
            return StoreUnavailableError(f"{quote(self.url)}: {_first_line(error)}")
        code, status = _code_and_status(error)
        shown = quote(self.url_of(path))
        endpoint = self._client.meta.endpoint_url
        if code == "NoSuchBucket" or (code == "404" and not path):
            return StoreUnavailableError(
                f"there is no bucket {quote(self._bucket)} at {endpoint}. "
                "Create it, or correct the URL."
            )
        if code == "InvalidObjectState":
            return SourceError(f"{shown} is archived: restore it first ({code})")
        if code in _CREDENTIAL_CODES or status in ("401", "403"):
            hint = _CREDENTIAL_CODES.get(code, _DENIED)
            return CredentialsError(f"{endpoint} refuses {shown}: {code or status} ({hint})")
        if code in ("NoSuchKey", "NoSuchUpload", "404") or status == "404":
            return NotFoundError(f"expected something at {shown}; found nothing ({code or 404})")
        if code == "PreconditionFailed" or isinstance(error, obstore.exceptions.AlreadyExistsError):
            return FileError(f"{shown} exists already, and is not to be replaced")
        if code == "BadDigest":
            return DigestMismatchError(
                f"{shown}: the server received other bytes than were sent (BadDigest)"
            )
        fails = status.startswith("5") and status != "501"  # which says never, not later
        if code in _SERVER_CODES or fails or status == "429":
            return UnreachableError(f"{endpoint} fails for {shown}: {code or status}")
        if _UNTRUSTED.search(f"{error} {error.__cause__}"):
            return StoreUnavailableError(
                f"{endpoint}: its certificate isn't one that this machine trusts. If it is your "
                "site's, name the file of its authority: [s3] ca_bundle in joblist.toml, or "
                "AWS_CA_BUNDLE."
            )
        if status:
            return FileError(f"{endpoint} refuses {shown}: {code or status}: {_said(error)}")
        if isinstance(error, ValueError):
            return FileError(f"{shown}: {_first_line(error)}")
        return UnreachableError(
            f"can't reach {endpoint}: {_first_line(error)}. Is the endpoint right and up?"
        )


def _scoped_config(session: Any) -> dict[str, Any]:
    try:
        return dict(session.get_scoped_config())
    except botocore.exceptions.ProfileNotFound as error:
        raise CredentialsError(
            f"{error} in AWS's configuration files. Correct [s3] profile in joblist.toml, "
            "or AWS_PROFILE."
        ) from None


def _code_and_status(error: Exception) -> tuple[str, str]:
    if isinstance(error, botocore.exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return str(error.response.get("Error", {}).get("Code", "")), str(status)
    text = str(error)
    code, status_match = _CODE.search(text), _STATUS.search(text)
    return code.group(1) if code else "", status_match.group(1) if status_match else ""


def _said(error: Exception) -> str:
    """Return a server's message, and no more of its answer, which may repeat a token."""
    if isinstance(error, botocore.exceptions.ClientError):
        message = str(error.response.get("Error", {}).get("Message", ""))
    else:
        found = _MESSAGE.search(str(error))
        message = found.group(1) if found else _STATUS.split(_first_line(error))[0]
    return " ".join(message.split())[:300] or type(error).__name__


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0].strip()
    return line[:300] or type(error).__name__


def _in_whole_seconds(time: datetime) -> int:
    # Listings tell milliseconds, answers to GET and HEAD whole seconds; both must compare.
    return int(time.timestamp()) * 1_000_000_000


def _condition(attributes: Attributes) -> dict[str, str]:
    return {} if attributes.may_replace else {"IfNoneMatch": "*"}


def _etag(value: str | None) -> str | None:
    return value.strip('"') if value else None  # as it came: some servers' are no hexadecimal


def _base64(md5: str) -> str:
    return base64.b64encode(bytes.fromhex(md5)).decode()


def _to_metadata(attributes: Attributes) -> dict[str, str]:
    seconds, rest = divmod(abs(attributes.mtime_ns), 1_000_000_000)
    sign = "-" if attributes.mtime_ns < 0 else ""
    metadata = {"mtime": f"{sign}{seconds}.{rest:09d}"}
    if attributes.md5 is not None:
        metadata["md5chksum"] = _base64(attributes.md5)
    return metadata


def _metadata(answer: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def _attributes(metadata: dict[str, str], mtime_ns: int) -> Attributes:
    if match := _MTIME.fullmatch(metadata.get("mtime", "")):
        sign, seconds, rest = match.groups(default="")
        mtime_ns = int(f"{sign}{seconds}{rest.ljust(9, '0')}")
    try:
        md5: str | None = base64.b64decode(metadata.get("md5chksum", ""), validate=True).hex()
    except ValueError:
        md5 = None
    return Attributes(mtime_ns=mtime_ns, md5=md5 if md5 and _MD5.fullmatch(md5) else None)
