"""Templates fill in fields; ``safe`` makes names that every store accepts."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobtool.errors import LayoutError
from jobtool.layouts.template import Template, safe


def test_fields_are_filled_in_as_they_are_or_made_safe() -> None:
    template = Template("{out}/server={server:safe}/{server}.parquet")
    values = {"out": "s3://b", "server": "https%3A%2F%2Fa.example%3A80"}
    assert template.fill(values) == (
        "s3://b/server=https___a.example_80/https%3A%2F%2Fa.example%3A80.parquet"
    )
    assert template.fields == {"out", "server"}
    assert template.safe_fields == {"server"}


@pytest.mark.parametrize(
    ("field", "hint"),
    [("destination", "--destination"), ("folder", "--set folder=VALUE"), ("uuid", "made only for")],
)
def test_a_value_that_is_missing_is_named_with_the_way_to_give_it(field: str, hint: str) -> None:
    with pytest.raises(LayoutError, match=hint) as caught:
        Template(f"{{{field}}}/x").fill({"other": "y"})
    assert repr(f"{{{field}}}/x") in str(caught.value)


@pytest.mark.parametrize("text", ["{", "}", "{}", "{a", "a}", "{1}", "{a.b}", "{a:upper}", "{a b}"])
def test_a_malformed_template_is_refused_and_named(text: str) -> None:
    with pytest.raises(LayoutError) as caught:
        Template(text)
    assert repr(text) in str(caught.value)


def test_braces_can_be_doubled() -> None:
    assert Template("{{x}}").fill({}) == "{x}"


@given(st.text(max_size=50))
def test_a_value_with_braces_is_not_filled_in_again(value: str) -> None:
    assert Template("<{x}>").fill({"x": value}) == f"<{value}>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https%3A%2F%2Fa.example%3A80", "https___a.example_80"),
        ("a:80", "a_80"),
        ("a_80", "a_80"),
        ("päth-1_(x)!.y", "päth-1_(x)!.y"),
        ("a/../b", "a_.._b"),
        ("%2e%2e", "__"),
        (".", "_"),
        ("..", "__"),
        ("", "_"),
        ("%00\n", "__"),
        ("%ff", "_"),
    ],
)
def test_safe_examples(value: str, expected: str) -> None:
    assert safe(value) == expected


HARMLESS = set("!-_.()")


@given(st.text() | st.binary().map(os.fsdecode) | st.text("./%2eEfF:"))
@example("🧬" * 300)
@example("." * 300)
@example("ß" * 300)
def test_safe_gives_harmless_names_whatever_it_gets(value: str) -> None:
    made = safe(value)
    assert made not in ("", ".", "..")
    assert all(character.isalnum() or character in HARMLESS for character in made)
    assert len(made.encode()) <= 200


@given(st.text("abcXYZ019!-_()", min_size=1, max_size=100))
def test_safe_leaves_harmless_names_alone(value: str) -> None:
    assert safe(value) == value
