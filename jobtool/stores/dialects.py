"""fsspec's names for what each of jobtool's own stores is opened with.

Sources: the constructors of fsspec's own filesystems, of s3fs, gcsfs and adlfs, and seed tables
that name ``bucket`` or ``container`` beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import msgspec

from jobtool.errors import UsageError

#: Other names of protocols.
ALIASES: Mapping[str, str] = {
    "local": "file",
    "s3a": "s3",
    "s3n": "s3",
    "gcs": "gs",
    "ssh": "sftp",
    "arrow_hdfs": "hdfs",
}

#: Words of gcsfs for ways to log in.
_LOGINS: Mapping[str, Mapping[str, Any]] = {
    "anon": {"provider": "anonymous"},
    "google_default": {"provider": "default"},
    "cloud": {"provider": "default"},
}

_BUCKETS = ("bucket", "container")
_SERVER = ("host", "port", "user", "username")


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How options become a URL and settings.

    - ``root``: what the URL begins with: a ``bucket``, a ``server`` or nothing (``path``).
    - ``settings``: options by the keys that they are in the store's table. Others are keys already.
    - ``secrets``: options by the names by which the store is given secrets.
    - ``providers``: options by the credential provider that they choose, and its key for their
      value; without a key any value but ``False`` chooses it.
    - ``dropped``: options without a meaning here.
    - ``hints``: what to do about options that have another place.
    - ``instead``: where secrets belong that a table can't hold.
    - ``nested``: options that are tables themselves, whose keys are taken out of them.
    - ``from_home``: a relative path would begin at the user's folder there, which URLs can't name.
    """

    root: Literal["bucket", "server", "path"] = "bucket"
    settings: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)
    providers: Mapping[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    hints: Mapping[str, str] = msgspec.field(default_factory=dict)
    instead: str = "Put it into the environment, or into fsspec's own configuration."
    nested: tuple[str, ...] = ()
    from_home: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The options that the URL is made of."""
        return {"bucket": _BUCKETS, "server": _SERVER, "path": ()}[self.root]

    def prepared(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that mean something, the nested ones beside the others."""
        found = {key: value for key, value in options.items() if key not in self.nested}
        for name in self.nested:
            nested = options.get(name, {})
            found |= nested if isinstance(nested, Mapping) else {name: nested}
        choices = {*self.hints, *self.providers}
        return {
            key: value
            for key, value in found.items()
            if key not in self.dropped and (value or key not in choices)
        }

    def provider(self, key: str, value: Any) -> dict[str, Any]:
        """Return the table ``[credentials]`` that an option of ``providers`` stands for."""
        if isinstance(value, str) and value in _LOGINS:
            return dict(_LOGINS[value])
        name, own = self.providers[key]
        return {"provider": name, own: value} if own else {"provider": name}

    def start(self, scheme: str, options: MutableMapping[str, Any], where: str) -> str:
        """Take the options that the URL is made of. Return what paths are below.

        Raises ``UsageError`` for a server without a host.
        """
        if self.root == "path":
            return ""
        if self.root == "server":
            return _server(scheme, options, where)
        name = taken_bucket(options)
        return f"{scheme}://{name}" if name else f"{scheme}:/"


def taken_bucket(options: MutableMapping[str, Any]) -> str:
    """Take the name of a bucket or container, which may be empty."""
    return "".join(str(options.pop(key)) for key in _BUCKETS if key in options).strip("/")


def _server(scheme: str, options: MutableMapping[str, Any], where: str) -> str:
    host = str(options.pop("host", "") or "")
    if not host:
        raise UsageError(f"{where}: expected the host of {scheme}:// (host = …); found none")
    host = host.removeprefix(f"{scheme}://").rstrip("/")
    if ":" in host and host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    port = options.pop("port", None)
    user = "" if scheme != "sftp" else options.pop("username", options.pop("user", ""))
    return f"{scheme}://{user}{'@' * bool(user)}{host}" + (f":{port}" if port else "")


_NETRC = "Put the login of the host into ~/.netrc."

_HDFS = Dialect(
    root="server",
    from_home=True,
    hints={"kerb_ticket": "Log in by kinit; the ticket's cache is KRB5CCNAME."},
    instead="Log in by kinit, or set HADOOP_TOKEN_FILE_LOCATION.",
)

_WEB_HDFS = msgspec.structs.replace(_HDFS, instead="Get a delegation token, and set HADOOP_TOKEN.")

_WEB = Dialect(root="server", hints={"user": _NETRC, "username": _NETRC}, instead=_NETRC)

_AZURE = Dialect(
    settings={"account_name": "account", "anon": "anonymous"},
    secrets={
        "account_key": "AZURE_STORAGE_KEY",
        "sas_token": "AZURE_STORAGE_SAS_TOKEN",
        "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    },
    instead="Set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN in the environment, or run az login.",
)

_S3 = Dialect(
    settings={"region_name": "region", "use_fips_endpoint": "fips"},
    secrets={
        "key": "access_key",
        "aws_access_key_id": "access_key",
        "secret": "secret_key",
        "aws_secret_access_key": "secret_key",
        "token": "session_token",
        "aws_session_token": "session_token",
    },
    providers={"anon": ("anonymous", "")},
    instead="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile.",
    nested=("client_kwargs",),
)

#: The dialects of jobtool's own stores, by scheme.
DIALECTS: Mapping[str, Dialect] = {
    "file": Dialect(root="path", hints={"auto_mkdir": "Folders are always made."}),
    "s3": _S3,
    "gs": Dialect(
        providers={"token": ("google-file", "path")},
        dropped=frozenset({"project"}),  # that of new buckets
        instead="Name the file of a service account by token, or run gcloud auth "
        "application-default login.",
    ),
    "az": _AZURE,
    "abfs": _AZURE,
    "abfss": _AZURE,
    "hdfs": _HDFS,
    "webhdfs": _WEB_HDFS,
    "swebhdfs": _WEB_HDFS,
    "sftp": Dialect(
        root="server",
        from_home=True,
        settings={"key_filename": "identity_file"},
        secrets={"password": "password"},
        instead="Log in by a key (identity_file) or an agent.",
    ),
    "http": _WEB,
    "https": _WEB,
    "ftp": _WEB,
    "ftps": _WEB,
}

#: The schemes that take the place of objects of these packages, if their options are known.
OWN_STORES: Mapping[str, str] = {"gcsfs": "gs", "s3fs": "s3"}

#: Options of objects that say how the object itself works.
OF_OBJECTS = frozenset(
    "asynchronous cache_regions cache_type default_block_size default_cache_type "
    "default_fill_cache dircache fixed_upload_size listings_expiry_time loop max_concurrency "
    "max_paths skip_instance_cache use_listings_cache".split()
)

#: That of a store without one: its settings have the names that it gives them.
PLAIN = Dialect()
