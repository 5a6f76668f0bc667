"""Sizes and durations as people read them."""

from __future__ import annotations

import pytest

from jobtool.suggest import closest, did_you_mean, hint_of
from jobtool.units import duration_text, rate_text, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (534_528, "522 KiB"),
        (1_023_488, "1.0 MiB"),
        (21_104_243, "20.1 MiB"),
        (1_181_116_006, "1.1 GiB"),
        (5 * 1024**6, "5120 PiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.1, "0.1 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.5, "1 min"),
        (725, "12 min 5 s"),
        (3599.6, "1 h"),
        (11520, "3 h 12 min"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_rates() -> None:
    assert rate_text(35.2 * 1024**2) == "35.2 MiB/s"


def test_suggestions() -> None:
    assert closest("thread", ["links", "threads"]) == "threads"
    assert did_you_mean("thread", ["links", "threads"]) == " Did you mean 'threads'?"
    assert did_you_mean("zzz", ["links", "threads"]) == ""
    assert hint_of("Object contains unknown field `regoin`", ["region"]) != ""
    assert hint_of("Expected `str`", ["region"]) == ""
