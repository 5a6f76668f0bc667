"""Names in text and in file names: every name comes back as it was."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobtool.errors import JobFileError
from jobtool.names import (
    ARROW,
    filename_of,
    is_cut,
    name_of,
    quote,
    shell_word,
    split_name,
    unquote,
)
from tests.strategies import names, some_name

PLAIN = ["a", "a b", "a/b c#d.txt", "it's", "100%", "é 🧬", 'a"b', "back\\slash", "a=b", "~", "-"]


@given(names)
def test_every_name_survives_quoting(name):
    assert unquote(quote(name)) == name
    assert unquote(quote(name, word=True)) == name


@given(names)
def test_a_quoted_name_is_one_line_of_valid_utf8_without_edges_to_strip(name):
    for text in (quote(name), quote(name, word=True)):
        assert text.encode("utf-8").decode() == text
        assert len(text.splitlines()) == 1
        assert text.strip() == text
    assert not set(quote(name, word=True)) & set(" =\t") or quote(name, word=True).startswith('"')


@given(names, names)
def test_two_names_around_an_arrow_come_apart_again(first, second):
    taken, rest = split_name(quote(first) + ARROW + quote(second), stop=ARROW)
    assert taken == first
    assert rest.startswith(ARROW)
    assert unquote(rest.removeprefix(ARROW)) == second


@pytest.mark.parametrize("name", PLAIN)
def test_ordinary_names_stand_as_they_are(name):
    assert quote(name) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", '""'),
        (" a", '" a"'),
        ("a\nb", '"a\\nb"'),
        ("\udcff", '"\\xff"'),
        ("a\u2028b", '"a\\u2028b"'),
        ('"', '"\\""'),
        ("a -> b\\c", '"a -> b\\\\c"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("evil\u202etxt", '"evil\\u202etxt"'),
    ],
)
def test_other_names_are_written_so_that_they_can_be_seen(name, text):
    assert quote(name) == text
    assert unquote(text) == name


@pytest.mark.parametrize("text", ['"', '"a', '"a\\"', '"a"b', '"\\q"', '"\\x4"', '"\\u12"', '"\\"'])
def test_text_that_is_no_quoted_name_is_refused(text):
    with pytest.raises(JobFileError):
        unquote(text)


@given(some_name)
@example(".")
@example("..")
@example("a/b")
@example("~")
@example("x" * 300)
@example("é" * 150)
@example("\udcff" * 80)
def test_the_file_name_of_a_job_is_one_that_a_filesystem_and_a_shell_take(name):
    stem = filename_of(name)
    assert 0 < len(os.fsencode(stem)) <= 200
    assert not set(stem) & set('/\0\n\r\t*?<>|"\\`')
    assert stem.encode("utf-8")
    assert not stem.startswith((".", "-", "~", " "))
    assert os.path.basename(stem) == stem


@given(some_name)
def test_the_name_of_a_job_can_be_read_from_its_file_name_unless_that_was_cut(name):
    stem = filename_of(name)
    if not is_cut(stem):
        assert name_of(stem) == name
    else:
        assert len(os.fsencode(name)) > 50


@given(st.lists(some_name, min_size=2, max_size=6, unique=True))
@example(["a/b", "a%2Fb"])
@example(["x" * 300 + "1", "x" * 300 + "2"])
@example([" ", "%20"])
@example(["~", "%7E"])
def test_different_jobs_never_share_a_file_name(several):
    assert len({filename_of(name) for name in several}) == len(several)


@given(st.text(max_size=30))
def test_a_cut_file_name_is_no_file_name_of_another_job(text):
    cut = filename_of("x" * 300)
    assert is_cut(cut)
    assert not is_cut(filename_of(text))
    assert filename_of(cut) != cut


@settings(max_examples=10)  # a shell for each
@given(st.lists(names, min_size=20, max_size=60))
@example(["it's", "a\nb'c\\d", "\udcff1", "", "$(x)\n`y`", "-n", "!!"])
def test_a_shell_reads_each_word_of_a_command_as_it_was(texts: list[str]) -> None:
    words = [shell_word(text) for text in texts]
    assert not any("\n" in word or "\udcff" in word for word in words)
    command = os.fsencode("printf '%s\\0' " + " ".join(words))
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout == b"".join(os.fsencode(text) + b"\0" for text in texts)
