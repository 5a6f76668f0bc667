"""Patterns of paths in rclone's syntax, as regular expressions.

Source: rclone, "Filtering", https://rclone.org/filtering/, and its ``fs/filter/glob.go``. ``*`` is
any characters but ``/``, ``**`` any characters, ``?`` one character but ``/``, ``[…]`` and ``[^…]``
one of some, ``{a,b}`` either of them. A backslash takes away the meaning of the next character. A
pattern with a slash at its beginning is matched with the whole path, any other with its end, from a
name's first character on.

Three things differ from rclone. ``[^…]`` never matches a slash. ``**`` also matches line ends. And
``{{…}}``, a regular expression of Go's, is refused.
"""

from __future__ import annotations

import re

from jobtool.names import quote

#: A longer pattern is refused.
MOST_CHARACTERS = 4096

# What can't be split at its slashes: slashes, ``**`` or braces within braces.
_HARD = re.compile(r"\{[^{}]*(?:\*\*|/|\{)")

#: Matches every folder, as ``folder_globs`` returns it.
ANY_FOLDER = "/**"


def compile_glob(glob: str) -> re.Pattern[str]:
    """Return the expression whose ``search`` finds the paths that a pattern matches.

    Raises ``ValueError``, which names the pattern and what is wrong with it.
    """
    if not glob:
        raise ValueError("expected a pattern, such as '*.tmp'; found none")
    if len(glob) > MOST_CHARACTERS:
        raise ValueError(
            f"expected a pattern of up to {MOST_CHARACTERS} characters; found {len(glob)}"
        )
    if not _is_encodable(glob):
        raise ValueError(
            f"pattern '{quote(glob)}': expected UTF-8; found other bytes. Write '?' in place of "
            "each of them."
        )
    start = r"\A" if glob.startswith("/") else r"(?:\A|/)"
    try:
        return re.compile(start + _translate(glob.removeprefix("/")) + r"\Z", re.DOTALL)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern {glob!r}: {error}") from None


def folder_globs(glob: str) -> list[str]:
    """Return patterns of the folders that may hold a path that ``glob`` matches.

    Each ends in a slash or is ``ANY_FOLDER``. They are matched with the folder's path and a slash.
    The root isn't among them, since it is always listed.
    """
    if _HARD.search(glob):
        return [ANY_FOLDER]
    rest = re.sub("/{2,}", "/", glob)
    found: list[str] = []
    while True:
        slash, stars = rest.rfind("/"), rest.rfind("**")
        if max(slash, stars) < 0:
            break
        rest, end = (rest[:stars], "**/") if stars > slash else (rest[:slash], "/")
        if rest + end not in found:
            found.append(rest + end)
    return [each for each in found if each != "/"] if found else [ANY_FOLDER]


def _translate(glob: str) -> str:
    made: list[str] = []
    depth = index = 0
    while index < len(glob):
        char = glob[index]
        if char == "*":
            stars = len(glob) - index - len(glob[index:].lstrip("*"))
            if stars > 2:
                raise ValueError("expected '*' or '**'; found more stars in a row")
            made.append(".*" if stars == 2 else "[^/]*")
            index += stars
            continue
        if char == "\\":
            index += 1
            if index == len(glob) or (glob[index].isascii() and glob[index].isalnum()):
                raise ValueError(
                    "expected a special character after a backslash, such as '\\*'; for a "
                    "backslash in a name write two"
                )
            made.append(re.escape(glob[index]))
        elif char == "[":
            end = glob.find("]", index)
            if end < 0:
                raise ValueError("'[' isn't closed; for a '[' in a name write '\\['")
            made.append(_one_of(glob[index + 1 : end]))
            index = end
        elif char == "]":
            raise ValueError("']' wasn't opened; for a ']' in a name write '\\]'")
        elif char == "{":
            if glob[index + 1 : index + 2] == "{":
                raise ValueError("regular expressions in '{{' and '}}' aren't supported")
            depth += 1
            made.append("(?:")
        elif char == "}":
            if not depth:
                raise ValueError("'}' wasn't opened; for a '}' in a name write '\\}'")
            depth -= 1
            made.append(")")
        elif char == "," and depth:
            made.append("|")
        else:
            made.append("[^/]" if char == "?" else re.escape(char))
        index += 1
    if depth:
        raise ValueError("'{' isn't closed; for a '{' in a name write '\\{'")
    return "".join(made)


def _one_of(text: str) -> str:
    """Return the expression for one of some characters, never a slash."""
    chars = text.removeprefix("^")
    if not chars or "[" in chars or "\\" in chars:
        raise ValueError(
            f"expected characters and ranges in '[…]', without '[' and '\\'; found {text!r}"
        )
    made, index = "", 0
    while index < len(chars):
        made += re.escape(chars[index])
        if chars[index + 1 : index + 2] == "-" and index + 2 < len(chars):
            made += "-" + re.escape(chars[index + 2])
            index += 2
        index += 1
    return f"(?!/)[{'^' if text.startswith('^') else ''}{made}]"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
