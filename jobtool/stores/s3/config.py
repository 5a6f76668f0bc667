"""How to reach S3: the ``[s3]`` table of joblist.toml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from jobtool import typed
from jobtool.errors import UsageError
from jobtool.stores.proxies import names_a_server
from jobtool.suggest import misfit

DEFAULT_TIMEOUT_SECONDS = 60.0

#: A day. A request that waits longer waits forever, and sockets can't take much larger values.
MAX_TIMEOUT_SECONDS = 86400

#: AWS, "Access control list overview", Canned ACL.
_ACLS = (
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)

#: AWS, "Categorizing your objects using tags".
_MOST_TAGS = 10

#: The metadata in which jobtool keeps a file's time and MD5.
_OURS = ("mtime", "md5chksum")

#: Larger objects may go in parts, whose first request doesn't know their size. S3's smallest part.
MOST_STORAGE_CLASS_FROM_BYTES = 5 * 1024 * 1024

#: As botocore accepts it: a label of a host name.
_REGION = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


class S3Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach S3. Settings that are None come from AWS's environment and configuration files.

    ``checksums`` says whether requests carry AWS's newer checksums, which many other servers
    refuse. By default only AWS gets them. Other endpoints are addressed by path
    (``http://host/bucket/key``) by default. ``ca_bundle`` is the absolute path of a file of
    certificates (PEM) to verify the server's certificate. ``timeout_seconds`` is how long a request
    waits for bytes of its answer before it is tried again. ``accelerate``, ``dualstack`` and
    ``fips`` choose AWS's endpoints of these kinds. Without ``express_sessions`` each request to a
    directory bucket is signed by itself.

    These are sent with each new object; without them the bucket's defaults apply: ``acl``,
    ``server_side_encryption``, ``kms_key_id``, ``bucket_key``, ``storage_class`` if the object has
    at least ``storage_class_from_bytes``, ``tags``, ``metadata``, and a lock until
    ``object_lock_days`` from the start of the worker. ``content_types`` maps patterns of paths to
    types; the first that fits counts, and otherwise the type is guessed by the name's suffix. These
    are sent with each request: ``requester_pays``, ``expected_bucket_owner``, and the key in
    ``customer_key_file`` (SSE-C).

    ``restore_days`` says to ask for archived objects of the source, and for how many days S3 keeps
    the copies; ``restore_tier`` is how fast it fetches them. Their jobs are tried again after
    ``restore_check_seconds``.

    ``whole_md5`` is where the MD5 of an object in parts is kept: in the receipt only, or also in
    the object's ``metadata``. S3 takes metadata before the first part, so the latter reads each
    large local file twice.
    """

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    addressing_style: Literal["path", "virtual", "auto"] | None = None
    checksums: Literal["when_required", "when_supported"] | None = None
    ca_bundle: str | None = None
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: str | None = None
    bucket_key: bool | None = None
    customer_key_file: str | None = None
    acl: str | None = None
    storage_class: str | None = None
    storage_class_from_bytes: Annotated[
        int, msgspec.Meta(ge=0, le=MOST_STORAGE_CLASS_FROM_BYTES)
    ] = 128 * 1024
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    content_types: dict[str, str] = msgspec.field(default_factory=dict)
    object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    object_lock_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] | None = None
    accelerate: bool | None = None
    dualstack: bool | None = None
    fips: bool | None = None
    express_sessions: bool | None = None
    restore_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] | None = None
    restore_tier: Literal["Expedited", "Standard", "Bulk"] | None = None
    restore_check_seconds: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 1800.0
    whole_md5: Literal["receipt", "metadata"] = "receipt"
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    def __hash__(self) -> int:
        """Return a hash of the settings, of which some are dictionaries."""
        return hash(msgspec.json.encode(self))


class RestoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How archived objects are asked for: for how many days, how fast, and when to look again."""

    days: int
    tier: str | None
    check_seconds: float


def restore_of(config: S3Config) -> RestoreSettings | None:
    """Return how to ask for archived objects; None if they aren't to be asked for."""
    if config.restore_days is None:
        return None
    return RestoreSettings(
        days=config.restore_days,
        tier=config.restore_tier,
        check_seconds=config.restore_check_seconds,
    )


def read_s3_table(table: Mapping[str, Any], role: str, *, shown: str = "joblist.toml") -> S3Config:
    """Return the settings of one role: its own table over the common one.

    ::

        [s3]
        endpoint_url = "https://minio.example:9000"
        [s3.destination]
        profile = "upload"

    Raises ``UsageError`` that names the file, as ``shown``, and the key.
    """
    sides = {side: table.get(side, {}) for side in ("source", "destination")}
    common = {key: value for key, value in table.items() if key not in sides}
    for values in (table, *(side for side in sides.values() if isinstance(side, Mapping))):
        if "@" in str(values.get("endpoint_url", "")):
            raise UsageError(
                f"{shown}, table [s3]: endpoint_url holds a user or a password, and a joblist "
                'is no place for one. Use AWS\'s credentials file and profile = "NAME".'
            )
    name = "s3"
    try:
        for side, values in sides.items():
            name = f"s3.{side}"
            _check(typed.convert(values, S3Config, strict=False), shown)
            if side == role:
                common |= values
        name = "s3"
        config = typed.convert(common, S3Config, strict=False)  # --set passes numbers as text
    except msgspec.ValidationError as error:
        raise UsageError(misfit(error, S3Config, where=f"{shown}, table [{name}]")) from None
    _check(config, shown)
    if config.kms_key_id and config.server_side_encryption in (None, "AES256"):
        raise UsageError(
            f'{shown}, table [s3]: kms_key_id needs server_side_encryption = "aws:kms" or '
            f'"aws:kms:dsse"; found {config.server_side_encryption!r}'
        )
    if config.customer_key_file and config.server_side_encryption:
        raise UsageError(
            f"{shown}, table [s3]: expected customer_key_file or server_side_encryption; found both"
        )
    if config.restore_tier and config.restore_days is None:
        raise UsageError(
            f"{shown}, table [s3]: restore_tier needs restore_days, which says that archived "
            "objects are to be restored; found none"
        )
    if bool(config.object_lock_mode) != bool(config.object_lock_days):
        raise UsageError(
            f"{shown}, table [s3]: expected object_lock_mode and object_lock_days together; found "
            "one of them"
        )
    if role != "source":  # reading back what was written there must not cost a restore
        config = replace(config, restore_days=None, restore_tier=None)
    return config


def _check(config: S3Config, shown: str) -> None:
    """Raise ``UsageError`` for settings that no client could be made from."""
    where = f"{shown}, table [s3]:"
    if config.endpoint_url is not None and not is_endpoint(config.endpoint_url):
        raise UsageError(
            f"{where} endpoint_url: expected a URL as in https://minio.example:9000; found "
            f"{config.endpoint_url!r}"
        )
    if config.region is not None and not _REGION.fullmatch(config.region):
        raise UsageError(
            f"{where} region: expected a name as in us-east-1, without blanks; found "
            f"{config.region!r}"
        )
    if not 0 < config.timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise UsageError(
            f"{where} timeout_seconds: expected a number above 0 and up to {MAX_TIMEOUT_SECONDS} "
            f"(a day); found {config.timeout_seconds:g}"
        )
    for name, told in (
        ("ca_bundle", config.ca_bundle),
        ("customer_key_file", config.customer_key_file),
    ):
        if told is not None and not (os.path.isabs(told) or told.startswith("~")):
            raise UsageError(
                f"{where} {name}: expected an absolute path, since workers may start anywhere; "
                f"found {told!r}"
            )
    _check_objects(config, where)


def _check_objects(config: S3Config, where: str) -> None:
    """Raise ``UsageError`` for settings of new objects that S3 would refuse."""
    if config.acl is not None and config.acl not in _ACLS:
        raise UsageError(f"{where} acl: expected one of {', '.join(_ACLS)}; found {config.acl!r}")
    told = config.expected_bucket_owner
    if told is not None and not re.fullmatch(r"[0-9]{12}", told):
        raise UsageError(
            f"{where} expected_bucket_owner: expected an account's 12 digits, as a text; found "
            f"{told!r}"
        )
    if len(config.tags) > _MOST_TAGS:
        raise UsageError(f"{where} tags: expected at most {_MOST_TAGS}; found {len(config.tags)}")
    for name in config.metadata:
        if not is_metadata_name(name):
            raise UsageError(
                f"{where} metadata: expected a name of lower-case letters, digits and '-' that "
                f"isn't 'mtime' or 'md5chksum'; found {name!r}"
            )


def is_metadata_name(name: str) -> bool:
    """Return True for a name that users may give to metadata of their own."""
    return re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) is not None and name not in _OURS


def is_endpoint(url: str) -> bool:
    """Return True if a text is the URL of a server: http:// or https://, and a host."""
    if not (names_a_server(url) and url.isprintable() and " " not in url):
        return False
    parts = urlsplit(url)
    return not (parts.query or parts.fragment)
