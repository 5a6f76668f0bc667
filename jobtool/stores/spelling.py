"""Suggestions for misspelt URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobtool.names import quote
from jobtool.suggest import closest

_COLON = re.compile(r"([^/\\:]+):(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]+")
_SLIP = re.compile(
    r"\s*(s3[an]?|gc?s|az|abfss?|sftp|file|https?)[;.]?//(.*)", re.DOTALL | re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_BUCKET_ARN = re.compile(r"(?:arn:)?aws[^:/]*:s3:::([^:]+)", re.DOTALL)

#: Well-known schemes. Text that begins with one and a colon is never taken for a file's name.
_FAMILIAR = frozenset(
    "abfs abfss arn az azure cos dav davs file ftp gcs gs hdfs http https memory oss s3 s3a s3n "
    "scp sftp ssh swift wasb wasbs webdav webhdfs".split()
)
_S3_ALIASES = ("s3", "s3a", "s3n")

#: The scheme that is meant by one that other programs have, and what its URLs look like.
_MEANT = {
    "gs": ("gs", "gs://BUCKET/PATH"),
    "gcs": ("gs", "gs://BUCKET/PATH"),
    "az": ("az", "az://CONTAINER/PATH"),
    "azure": ("az", "az://CONTAINER/PATH"),
    "abfs": ("abfs", "abfs://CONTAINER/PATH"),
    "wasb": ("abfs", "abfs://CONTAINER/PATH"),
    "abfss": ("abfss", "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"),
    "wasbs": ("abfss", "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"),
    "scp": ("sftp", "sftp://HOST/PATH"),
    "sftp": ("sftp", "sftp://HOST/PATH"),
    "ssh": ("sftp", "sftp://HOST/PATH"),
}


def split_at_colon(text: str) -> tuple[str, str]:
    """Return the text before and after a colon in the first part of a path; empty if none.

    ``s3//bucket`` and ``s3;//bucket`` are treated as if they had a colon.
    """
    match = _SLIP.fullmatch(text) or _COLON.match(text)
    return (match.group(1).strip().lower(), match.group(2)) if match else ("", "")


def is_familiar(text: str) -> bool:
    """Return True if a text begins with a well-known scheme and a colon, or a slip for one."""
    return split_at_colon(text)[0] in _FAMILIAR


def suggestion(scheme: str, rest: str) -> str:
    """Return the end of a sentence with the right spelling, as far as it is known."""
    arn = _BUCKET_ARN.fullmatch(rest) or _BUCKET_ARN.fullmatch(f"{scheme}:{rest}")
    if arn is not None and scheme in ("arn", "aws", *_S3_ALIASES):
        scheme, rest = "s3", arn.group(1)
    path = "/".join(part for part in rest.replace("\\", "/").split("/") if part)
    if scheme == "file":
        return did_you_mean_url(f"file:///{path}") if path else ". Expected file:///PATH."
    if scheme in _S3_ALIASES:
        is_bucket = _BUCKET.fullmatch(path.partition("/")[0])
        return did_you_mean_url(f"s3://{path}") if is_bucket else ". Expected s3://BUCKET/PATH."
    if scheme in _MEANT:
        meant, form = _MEANT[scheme]
        is_name = _NAME.fullmatch(path.partition("/")[0])
        return did_you_mean_url(f"{meant}://{path}") if is_name else f". Expected {form}."
    is_word = scheme not in _FAMILIAR and scheme != "memory" and _WORD.fullmatch(scheme)
    if is_word and not rest.startswith(("/", "\\")) and _BUCKET.fullmatch(path.partition("/")[0]):
        return did_you_mean_url(f"s3://{path}")
    return ". Expected a path, or s3://BUCKET/PATH."


def meant_by(scheme: str, rest: str, known: Iterable[str]) -> str:
    """Return the end of a sentence with the URL that is likely meant by an unknown scheme."""
    closer = None if is_familiar(f"{scheme}:") else closest(scheme, known)
    likely = "/".join(part for part in rest.split("/") if part)
    if closer is None or not likely:
        return suggestion(scheme, rest)
    return did_you_mean_url(f"{closer}://{likely}")


def did_you_mean_url(url: str) -> str:
    """Return the end of a sentence that proposes a URL."""
    return f". Did you mean {quote(url)}?"
