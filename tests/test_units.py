"""Sizes and durations as people read them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from jobtool.suggest import closest, did_you_mean, misfit
from jobtool.units import count_text, duration_text, parse_size, rate_text, size_text


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


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    threads: int | None = None
    words: tuple[Literal["mode", "times"], ...] | None = None


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner | None = None
    rate: Annotated[float, msgspec.Meta(gt=0)] = 1


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"name": 3}, "toml, name: expected text; found a whole number"),
        ({"name": "", "rate": 0}, "toml, rate: expected a number above 0"),
        ({"name": "", "rate": None}, "toml, rate: expected a number; found nothing"),
        ({}, "toml: 'name' is missing"),
        (
            {"name": "", "rat": 1},
            "toml: there is no 'rat'. Did you mean 'rate'? Expected a key of: name, inner, rate. "
            "Correct or remove it.",
        ),
        ({"name": "", "inner": 3}, "toml, inner: expected a table; found a whole number"),
        (
            {"name": "", "inner": {"threads": "x"}},
            "toml, table [inner], threads: expected a whole number; found text",
        ),
        (
            {"name": "", "inner": {"words": ["mod"]}},
            "toml, table [inner], words: expected one of mode, times; found 'mod'. Did you mean "
            "'mode'?",
        ),
        (
            {"name": "", "inner": {"thread": 1}},
            "toml, table [inner]: there is no 'thread'. Correct or remove it.",
        ),
    ],
)
def test_what_doesn_t_fit_is_told_in_words(table: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(table, Outer)
    assert misfit(caught.value, Outer, where="toml") == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (99_951, "100k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (1_234_567, "1.2M"),
        (20_000_000, "20M"),
        (3.2e9, "3.2G"),
        (5e15, "5000T"),
    ],
)
def test_counts(count: float, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000000", 1_000_000),
        ("256MiB", 256 * 1024**2),
        ("256 mib", 256 * 1024**2),
        ("1.5GB", 1_500_000_000),
        ("2k", 2000),
        ("1Ti", 1024**4),
        ("999999999999999999", 999_999_999_999_999_999),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1e9", "5 parsecs", "1MiBit", "1,5GB", "\u0663M"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as 256MiB, 1GB or 1000000"):
        parse_size(text)
