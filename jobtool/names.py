r"""How names are written as text: in job files, logs, receipts, messages.

A file name is any string of bytes without NUL and slash, so a name may hold newlines, quotes or
bytes that aren't UTF-8. In memory such bytes are surrogates (PEP 383, ``os.fsdecode``). In text a
name is written unchanged if that is unambiguous. Otherwise it is put between double quotes, with
``\n \r \t \" \\``, ``\xNN`` for a byte that isn't UTF-8 and ``\uNNNN`` for other invisible
characters. Both directions are exact: ``unquote(quote(name)) == name`` for every name.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import shlex
import sys
from urllib.parse import unquote_to_bytes

from jobtool.errors import JobFileError, UsageError

ARROW = " -> "

# Not allowed in a plain name: control characters, line and paragraph separators, marks that change
# the writing direction, surrogates. Some readers take \u0085 for a line break.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_NEEDS_QUOTES = re.compile(rf'^["\s]|\s$|->|[{_UNSEEN}]|^$')
_ESCAPED = re.compile(rf'["\\{_UNSEEN}]')
_ESCAPE = re.compile(r'\\(?:([nrt"\\])|x([0-9a-f]{2})|u([0-9a-f]{4}))')
_INVISIBLE = re.compile(f"[{_UNSEEN}]")
_FOR_SHELL = re.compile(rf"['\\\\{_UNSEEN}]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNFIT_FOR_FILENAME = re.compile(rf'^[.\s~-]|\s$|[/%*?<>|:"\\`{_UNSEEN}]')
_BY_LETTER = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_BY_CHARACTER = {character: letter for letter, character in _BY_LETTER.items()}

MAX_FILENAME_BYTES = 200  # leaves room for ".txt", ".parquet" and the like within 255


def is_utf8(encoding: str | None) -> bool:
    """Return True if an encoding is UTF-8, in any spelling. None is that of text in memory."""
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


def are_utf8() -> bool:
    """Return True if this Python decodes file names as UTF-8."""
    return is_utf8(sys.getfilesystemencoding())


def require_utf8() -> None:
    """Raise ``UsageError`` unless this Python decodes file names as UTF-8.

    Names would otherwise be different strings for workers with different locales.
    """
    if not are_utf8():
        raise UsageError(
            f"expected file names in UTF-8; this Python reads them as "
            f"{sys.getfilesystemencoding()}, by the locale. Start it with python -X utf8, or with "
            "PYTHONUTF8=1 in the environment."
        )


def quote(name: str, *, word: bool = False) -> str:
    """Write ``name`` as text on one line.

    With ``word`` the text also has no space and no ``=``, so that it fits a ``key=value`` pair.
    """
    if _is_plain(name) and not (word and re.search(r"[\s=]", name)):
        return name
    return '"' + _ESCAPED.sub(_escape, name) + '"'


def _is_plain(name: str) -> bool:
    """Return True if a name can be written unchanged."""
    if name.isascii() and name.isprintable() and name[:1] not in '" ' and name[-1] != " ":
        return "->" not in name  # the usual case: the expression takes ten times as long
    return not _NEEDS_QUOTES.search(name)


def is_text(name: str) -> bool:
    """Return True unless a name holds bytes that aren't UTF-8, which are surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def visible(text: str) -> str:
    """Return a text with its invisible characters as escapes, to be shown and not read again."""
    return _INVISIBLE.sub(_escape, text)


def in_one_line(text: str, *, most: int | None = None) -> str:
    """Return a text of another program on one line, cut after ``most`` characters."""
    return " ".join(text.split())[:most]


def shell_word(text: str) -> str:
    """Return the word of a command line that a shell reads as ``text``. It is one printable line.

    Invisible characters are written as in ``$'a\\012'``, which bash and zsh read, and by
    POSIX.1-2024 every shell.
    """
    if not _INVISIBLE.search(text):
        return shlex.quote(text)
    return f"$'{_FOR_SHELL.sub(_octal, text)}'"


def _octal(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode("utf-8", "surrogateescape"))


def unquote(text: str) -> str:
    """Read a name that ``quote`` wrote.

    Raises ``JobFileError`` for a missing closing quote or an unknown escape.
    """
    name, rest = split_name(text, stop=None)
    if rest:
        raise JobFileError(f"expected nothing after the closing quote, found {rest!r} in {text!r}")
    return name


def split_name(text: str, *, stop: str | None) -> tuple[str, str]:
    """Read the name at the start of ``text``. Return it and the text after it.

    A plain name ends before ``stop``, or at the end of the text if ``stop`` is None or absent.
    """
    if not text.startswith('"'):
        if stop is None:
            return text, ""
        name, separator, rest = text.partition(stop)
        return name, separator + rest
    match = _QUOTED.match(text)
    if match is None:
        raise JobFileError(f"expected a closing double quote in {text!r}")
    return _unescape(match.group(1)), text[match.end() :]


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character in _BY_CHARACTER:
        return "\\" + _BY_CHARACTER[character]
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _unescape(text: str) -> str:
    pieces: list[str] = []
    end = 0
    while (start := text.find("\\", end)) >= 0:
        match = _ESCAPE.match(text, start)
        if match is None:
            raise JobFileError(
                'expected one of \\n \\r \\t \\" \\\\ \\xNN \\uNNNN; '
                f"found {text[start : start + 6]!r}"
            )
        letter, byte, code = match.groups()
        if letter:
            character = _BY_LETTER[letter]
        elif byte:
            value = int(byte, 16)
            character = chr(0xDC00 + value) if value >= 0x80 else chr(value)
        else:
            character = chr(int(code, 16))
        pieces += (text[end:start], character)
        end = match.end()
    pieces.append(text[end:])
    return "".join(pieces)


def filename_of(name: str) -> str:
    """Return the job ID of the job ``name``, which is the stem of its files' names.

    Percent-encodes characters that file names can't hold or shells treat specially. ``name_of``
    reverses this, except for a name of more than 200 bytes: it is cut and gets a hash, and the
    job's file holds the whole name. A job ID never starts with a dot.
    """
    job_id = _UNFIT_FOR_FILENAME.sub(_percent_encode, name)
    encoded = job_id.encode()
    if len(encoded) <= MAX_FILENAME_BYTES:
        return job_id
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return encoded[: MAX_FILENAME_BYTES - 18].decode("utf-8", "ignore").rstrip(" %") + "%~" + digest


def name_of(filename: str) -> str:
    """Return the job name that ``filename_of`` turned into ``filename`` (without its suffix)."""
    data = filename.encode("utf-8", "surrogateescape")
    return unquote_to_bytes(data).decode("utf-8", "surrogateescape")


def is_cut(filename: str) -> bool:
    """Return True if ``filename_of`` cut the name, so that ``name_of`` can't restore it."""
    return re.search(r"%~[0-9a-f]{16}$", filename) is not None


def _percent_encode(match: re.Match[str]) -> str:
    data = match.group().encode("utf-8", "surrogateescape")
    return "".join(f"%{byte:02X}" for byte in data)
