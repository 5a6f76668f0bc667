"""How to reach S3: the ``[s3]`` table of joblist.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from jobtool.errors import UsageError
from jobtool.suggest import hint_of

DEFAULT_TIMEOUT_SECONDS = 60.0


class S3Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach S3. What is None comes from AWS's own environment and configuration files.

    ``checksums`` says whether requests carry AWS's newer checksums, which many other servers
    refuse. By default AWS gets them and others don't; likewise other endpoints are addressed by
    path (``http://host/bucket/key``) by default. ``ca_bundle`` is a file of the certificates (PEM)
    that the server's is held against. ``timeout_seconds`` is how long a request waits
    for bytes of its answer; when nothing comes it is tried again.
    """

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    addressing_style: Literal["path", "virtual", "auto"] | None = None
    checksums: Literal["when_required", "when_supported"] | None = None
    ca_bundle: str | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = DEFAULT_TIMEOUT_SECONDS


def read_s3_table(table: Mapping[str, Any], role: str) -> S3Config:
    """Return the settings of one role: its own table over the common one.

    ::

        [s3]
        endpoint_url = "https://minio.example:9000"
        [s3.destination]
        profile = "upload"

    Raises ``UsageError`` that names the key.
    """
    sides = {side: table.get(side, {}) for side in ("source", "destination")}
    common = {key: value for key, value in table.items() if key not in sides}
    for values in (table, *(side for side in sides.values() if isinstance(side, Mapping))):
        if "@" in str(values.get("endpoint_url", "")):
            raise UsageError(
                "joblist.toml, table [s3]: endpoint_url holds a user or a password, and a joblist "
                'is no place for one. Use AWS\'s credentials file and profile = "NAME".'
            )
    try:
        for side, values in sides.items():
            msgspec.convert(values, S3Config)
            if side == role:
                common |= values
        return msgspec.convert(common, S3Config)
    except msgspec.ValidationError as error:
        fields = S3Config.__struct_fields__
        raise UsageError(
            f"joblist.toml, table [s3]: {error}.{hint_of(str(error), fields)} It knows "
            f"{', '.join(fields)}."
        ) from None
