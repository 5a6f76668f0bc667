"""One side of a transfer as fsspec's users name it: by a table of options, or by an object.

``source_fs`` and ``target_fs``, of joblist.toml or of Python, hold ``protocol`` and what fsspec's
filesystem of that protocol takes: ``host``, ``port``, ``bucket`` and so on, and ``target_path``.
Here, and nowhere else, such a table is translated: to the URL of a store and to settings of that
store for one role. A protocol without a store of jobtool's own is left to fsspec, with its options.
An object gets a URL ``fsspec://PROTOCOL/PATH`` (``jobtool.stores.anyfs.objects``), but for one of
a package whose options are known: jobtool's own store takes its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.plugins import STORES, find, fsspec_has, fsspec_knows
from jobtool.redact import Unshown, is_secret, redact, secrets_in, without_secrets
from jobtool.stores.dialects import (
    ALIASES,
    DIALECTS,
    OF_OBJECTS,
    OWN_STORES,
    PLAIN,
    Dialect,
    taken_bucket,
)
from jobtool.stores.storetype import Role, store_type
from jobtool.suggest import did_you_mean, unknown_key

#: The names of the roles' tables.
TABLES: Mapping[Role, str] = {"source": "source_fs", "destination": "target_fs"}

#: The scheme of filesystem objects.
OBJECT = "fsspec"


class Side(Unshown, frozen=True, kw_only=True):
    """One side, translated.

    ``start`` is the URL that its paths are below, such as ``s3://bucket`` or ``s3:/`` without a
    bucket; empty for an object and for this machine. ``target_path`` is the table's. ``table``
    are the settings of the role in the store's table, and ``credentials`` those in the table
    ``[credentials]``. ``secrets`` are for the store, by the names of ``Dialect``. They are in no
    file. ``filesystem`` is the object, else None.
    """

    role: Role
    scheme: str
    start: str = ""
    target_path: str = ""
    table: Mapping[str, Any] = msgspec.field(default_factory=dict)
    credentials: Mapping[str, Any] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, Any] = msgspec.field(default_factory=dict)
    filesystem: Any = None

    shown_fields = ("role", "scheme", "start")

    @property
    def has_target(self) -> bool:
        """Whether the table alone says where data goes."""
        return bool(self.target_path) or self.start not in ("", f"{self.scheme}:/")

    def url_of(self, path: str) -> str:
        """Return the URL of a path of this side. A URL of its scheme is returned as it is.

        So is that of a store inside a file there, such as a package.

        Raises ``UsageError`` for a URL of another scheme.
        """
        if self.filesystem is not None:
            return _url_in_object(self.filesystem, path)
        scheme, is_url, _ = path.partition("://")
        if is_url and "/" not in scheme:
            outer, plus, own = scheme.lower().rpartition("+")
            if ALIASES.get(own, own) != self.scheme:
                raise UsageError(
                    f"{quote(path)}: expected a path, or a URL {self.scheme}://…, since "
                    f"{TABLES[self.role]} is of the protocol {self.scheme!r}; found {scheme}://"
                )
            return outer + plus + self.scheme + path[len(scheme) :]
        if not self.start:
            return path
        if path and not path.startswith("/") and DIALECTS.get(self.scheme, PLAIN).from_home:
            raise UsageError(
                f"{quote(path)}: expected a path of {self.scheme}:// that begins with a slash"
            )
        return f"{self.start}/{path.strip('/')}".rstrip("/") if path.strip("/") else self.start


def side_of(given: object, role: Role, *, where: str, is_file: bool = False) -> Side:
    """Translate a table or an object.

    ``where`` names the table in messages. With ``is_file`` it is of joblist.toml, which holds no
    secrets. Raises ``UsageError``.
    """
    if isinstance(given, Mapping):
        return _of_table(dict(given), role, where=where, is_file=is_file)
    if hasattr(given, "open") and hasattr(given, "protocol"):
        return _of_object(given, role)
    raise UsageError(
        f"{where}: expected a dictionary with 'protocol', or a filesystem of fsspec; found "
        f"{type(given).__name__}"
    )


def merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table over an earlier one of the same protocol, or in place of one of another."""
    is_same = given.get("protocol", before.get("protocol")) == before.get("protocol")
    return {**before, **given} if is_same else dict(given)


def table_to_write(before: Mapping[str, Any], given: object) -> dict[str, Any]:
    """Return the part of a side that a file may hold, over the table that is there.

    It has no secrets, and is empty for an object, but for one that is opened by jobtool's own
    store: other processes must reach the same server.
    """
    if given is None:
        return dict(before)
    if isinstance(given, Mapping):
        table = merged(before, given)
        if _stands_for_object(_scheme_of(table.get("protocol"))):
            return {}
    else:
        table = _table_of_object(given) or {}
        table.pop("bucket", None)  # paths of objects name the bucket
    return without_secrets(table)


def _of_table(options: dict[str, Any], role: Role, *, where: str, is_file: bool) -> Side:
    options = {key: value for key, value in options.items() if value is not None}
    protocol, target_path = options.pop("protocol", None), options.pop("target_path", "")
    if not isinstance(protocol, str):
        raise UsageError(
            f"{where}: expected protocol = \"NAME\", such as 's3' or 'hdfs'; found "
            f"{'none' if protocol is None else repr(protocol)}"
        )
    if not isinstance(target_path, str):
        raise UsageError(f"{where}, target_path: expected text; found {target_path!r}")
    scheme = _scheme_of(protocol)
    _learn(options)
    if _stands_for_object(scheme):
        if is_file:
            raise UsageError(
                f"{where}: a filesystem {protocol!r} is one of a process, so no file can name it. "
                "Pass it in Python: source_fs=…, target_fs=…"
            )
        made = _of_object(_made(scheme, options, where), role)
        return msgspec.structs.replace(made, target_path=target_path)
    if find(STORES, scheme) is None:
        if not fsspec_knows(scheme):
            raise UsageError(
                f"{where}: no store has the protocol {protocol!r}.{did_you_mean(scheme, DIALECTS)} "
                f"Those here are {', '.join(DIALECTS)}, and fsspec's if it is installed "
                "(pip install 'jobtool[fsspec]')"
            )
        bucket, host = taken_bucket(options), options.get("host")
        start = f"{scheme}://{host or '.'}" + f"/{bucket}" * bool(bucket)
        secret = {key: options.pop(key) for key in tuple(options) if is_secret(key, options[key])}
        return Side(
            role=role,
            scheme=scheme,
            start=start,
            target_path=target_path,
            table=options,
            secrets=secret,
        )
    dialect = DIALECTS.get(scheme, PLAIN)
    options = dialect.prepared(options)
    start = dialect.start(scheme, options, where)
    return _translated(role, scheme, dialect, start, target_path, options, where)


def _translated(
    role: Role,
    scheme: str,
    dialect: Dialect,
    start: str,
    target_path: str,
    options: Mapping[str, Any],
    where: str,
) -> Side:
    known = _settings_of(scheme)
    table: dict[str, Any] = {}
    credentials: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    for key, value in options.items():
        if key in dialect.secrets:
            if not isinstance(value, str):
                raise UsageError(f"{where}: {key!r}: expected text; found {type(value).__name__}")
            secret[dialect.secrets[key]] = value
        elif key in dialect.providers and not is_secret(key, value):
            credentials = dialect.provider(key, value)
        elif is_secret(key, value):
            raise UsageError(f"{where}: {key!r} isn't taken for {scheme}://. {dialect.instead}")
        elif key in dialect.hints:
            raise UsageError(f"{where}: {key!r} isn't taken for {scheme}://. {dialect.hints[key]}")
        else:
            name = dialect.settings.get(key, key)
            if name not in known:
                theirs = [
                    *(*dialect.parts, *dialect.settings, *dialect.providers, *dialect.secrets),
                    *known,
                ]
                raise UsageError(f"{where}: {unknown_key(key, dict.fromkeys(theirs))}")
            table[name] = value
    return Side(
        role=role,
        scheme=scheme,
        start=start,
        target_path=target_path,
        table=table,
        credentials=credentials,
        secrets=secret,
    )


def _scheme_of(protocol: object) -> str:
    text = str(protocol).lower()
    return ALIASES.get(text, text)


def _settings_of(scheme: str) -> tuple[str, ...]:
    """Return the keys of a store's table."""
    if scheme == "s3":  # its table is read in a way of its own
        from jobtool.stores.s3.config import S3Config

        return S3Config.__struct_fields__
    kind = store_type(scheme)
    return () if kind is None or kind.settings is None else kind.settings.__struct_fields__


def _stands_for_object(scheme: str) -> bool:
    """Return True for filesystems that aren't places: in memory, caches, wrappers of others."""
    if scheme == "memory":
        return fsspec_has(scheme)
    return find(STORES, scheme) is None and not fsspec_knows(scheme) and fsspec_has(scheme)


def _made(scheme: str, options: Mapping[str, Any], where: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme, **options)
    except Exception as error:  # of another package: it may be anything
        raise UsageError(
            f"{where}: fsspec makes no filesystem {scheme!r} with these options: "
            f"{redact(f'{type(error).__name__}: {error}')}"
        ) from None


def _of_object(filesystem: Any, role: Role) -> Side:
    names = list(inspect.signature(type(filesystem).__init__).parameters)[1:]
    held = dict(zip(names, getattr(filesystem, "storage_args", ()), strict=False))
    held |= getattr(filesystem, "storage_options", {})
    _learn(held)
    return _by_own_store(filesystem, role) or Side(role=role, scheme=OBJECT, filesystem=filesystem)


def _learn(options: Mapping[str, Any]) -> None:
    redact.learn(*(text for key, value in options.items() for text in secrets_in(key, value)))


def _by_own_store(filesystem: Any, role: Role) -> Side | None:
    """Return the side of jobtool's own store for an object whose options it knows, else None.

    Its own store sends large files in parts, and proves without reading back.
    """
    table = _table_of_object(filesystem)
    if table is None:
        return None
    side = _of_table(table, role, where="", is_file=False)
    return msgspec.structs.replace(side, start=f"{side.scheme}:/")


def _table_of_object(filesystem: Any) -> dict[str, Any] | None:
    """Return the table that an object was made from, if jobtool's own store can take its place."""
    scheme = OWN_STORES.get(type(filesystem).__module__.partition(".")[0])
    if scheme is None or getattr(filesystem, "storage_args", None):
        return None
    held = filesystem.storage_options.items()
    table = {"protocol": scheme} | {key: each for key, each in held if key not in OF_OBJECTS}
    try:
        _of_table(dict(table), "source", where="", is_file=False)
    except UsageError:
        return None
    return table


def protocol_of(filesystem: Any) -> str:
    """Return the name of an object's protocol; the first one if it has several."""
    protocol = filesystem.protocol
    return str(protocol if isinstance(protocol, str) else next(iter(protocol)))


def _url_in_object(filesystem: Any, path: str) -> str:
    """Return the URL of a path of an object. A path that begins with a slash keeps it."""
    start = f"{OBJECT}://{protocol_of(filesystem)}"
    scheme, is_url, _ = path.partition("://")
    if scheme == OBJECT:
        return path
    protocols = (
        (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    )
    if is_url and "/" not in scheme and scheme not in protocols:
        raise UsageError(
            f"{quote(path)}: expected a path, or a URL {start.partition('://')[2]}://…; found "
            f"{scheme}://. The filesystem object has the protocol {protocol_of(filesystem)!r}."
        )
    inner = str(filesystem._strip_protocol(path))
    return f"{start}:{inner}" if inner.startswith("/") else f"{start}/{inner}".rstrip("/")
