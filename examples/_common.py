"""What both example generators share: argument checks, refusal of a used folder, the summary."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return an argparse type that takes whole numbers from ``minimum`` to ``maximum``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"not a whole number: {text!r}") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be {minimum} or more, got {value}")
        if maximum is not None and value > maximum:
            raise argparse.ArgumentTypeError(f"must be {maximum} or less, got {value}")
        return value

    return parse


def folder_name(text: str) -> str:
    """Argparse type: a single folder name, so no path and nothing that leads out of OUT."""
    if text in {"", ".", ".."} or "/" in text:
        raise argparse.ArgumentTypeError(f"not a plain folder name: {text!r}")
    return text


def folder_names(text: str) -> list[str]:
    """Argparse type: folder names separated by commas."""
    return [folder_name(name) for name in text.split(",")]


def claim(out: Path) -> bool:
    """Create ``out``; if it is a file or already holds something, say so and return False."""
    if out.is_dir() and any(out.iterdir()):
        problem = "exists and is not empty"
    elif out.exists() and not out.is_dir():
        problem = "exists and is not a folder"
    else:
        out.mkdir(parents=True, exist_ok=True)
        return True
    print(f"{Path(sys.argv[0]).name}: error: {out} {problem}", file=sys.stderr)
    return False


def summary(made: str, out: Path) -> str:
    """Return one line: ``made``, then the number of files below ``out`` and their size in MiB."""
    sizes = [
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(out)
        for name in names
    ]
    return f"{out}: {made}, {len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB"
