"""Settings that look like secrets, which a joblist must not hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jobtool.errors import JoblistError
from jobtool.jobs.metricssettings import refuse_login
from jobtool.jobs.notifysettings import SECRET_PLACES, is_secret_url
from jobtool.names import quote
from jobtool.redact import is_secret, sounds_secret

#: The tables of filesystems, as fsspec's users write them.
FILESYSTEM_TABLES = ("source_fs", "target_fs")

#: Where secrets belong, by the protocol of such a table.
_BETTER_PLACES = {
    "s3": "Put it into AWS's credentials file or environment, or choose a provider: [credentials]",
    "az": "Set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN in the environment, or run: az login",
    "gs": "Run gcloud auth application-default login, or name the file of a service account by "
    'token = "/PATH/FILE.json"',
    "sftp": "Log in by a key or an agent, as ssh does",
    "hdfs": "Log in by kinit",
    "http": "Put the login into ~/.netrc",
}
_SAME_PLACE = {
    **dict.fromkeys(("s3a", "s3n"), "s3"),
    **dict.fromkeys(("abfs", "abfss", "adl"), "az"),
    "gcs": "gs",
    "ssh": "sftp",
    **dict.fromkeys(("webhdfs", "swebhdfs"), "hdfs"),
    **dict.fromkeys(("https", "ftp", "ftps"), "http"),
}

#: AWS's access key IDs, and secrets in HTTP: a bearer token, a password in a URL.
_SECRET_VALUE = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bBearer\s+\S|://[^/@\s]*:[^/@\s]+@")


def looks_secret(key: str, value: object) -> bool:
    """Return True if a setting looks like a secret, by its name or by its value."""
    return sounds_secret(key) or _SECRET_VALUE.search(str(value)) is not None


def refuse_secrets(table: Mapping[str, Any], *, path: str) -> None:
    """Raise ``JoblistError`` if the tables of the ``joblist.toml`` at ``path`` hold a secret."""
    for key, value in table.items():
        if key == "layout":
            continue  # its keys are known ones and names of files
        if key in FILESYSTEM_TABLES and isinstance(value, dict):
            _refuse_secrets_of_filesystem(key, value, path=path)
            continue
        if key == "notify" and isinstance(value, dict):
            _refuse_secrets_of_notices(value, value, path=path)
            continue
        if key == "metrics" and isinstance(value, dict):
            refuse_login(value, path=path)
        parts = value if isinstance(value, (list, tuple)) else [value]
        tables = [each for each in parts if isinstance(each, dict)]
        for table_in in tables:
            refuse_secrets(table_in, path=path)
        if looks_secret(key, None if tables else value):
            raise JoblistError(
                f"{quote(path)}: {key!r} looks like a secret, which a joblist must not hold. "
                "Put it into AWS's credentials file and name its profile, log in by az or gcloud, "
                "set it in the environment of workers (for S3 AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY), or let a command or a file provide it: "
                '[credentials] provider = "profile", "process" or "file".'
            )


def _refuse_secrets_of_notices(
    table: Mapping[str, Any], whole: Mapping[str, Any], *, path: str, name: str = "notify"
) -> None:
    places = {place for each in SECRET_PLACES.values() for place in each}
    for key, value in table.items():
        if isinstance(value, dict):
            _refuse_secrets_of_notices(value, whole, path=path, name=f"{name}.{key}")
        elif key not in places and (looks_secret(key, value) or is_secret_url(str(value), whole)):
            variable, file = SECRET_PLACES.get(key, SECRET_PLACES["password"])
            raise JoblistError(
                f"{quote(path)}, table [{name}]: {key!r} looks like a secret, which a joblist must "
                f'not hold. Put it into a file that only you can read: {file} = "/PATH", or into a '
                f'variable of the environment of workers: {variable} = "NAME"'
            )


def _refuse_secrets_of_filesystem(name: str, table: Mapping[str, Any], *, path: str) -> None:
    for key, value in table.items():
        if is_secret(key, value) or looks_secret("", value):
            protocol = str(table.get("protocol", "")).lower()
            better = _BETTER_PLACES.get(
                _SAME_PLACE.get(protocol, protocol),
                "Put it into fsspec's own configuration, ~/.config/fsspec or a variable FSSPEC_…",
            )
            raise JoblistError(
                f"{quote(path)}, table [{name}]: {key!r} looks like a secret, which a joblist must "
                f"not hold. {better}. Or pass it in Python to transfer_jobs, by {name}=…"
            )
