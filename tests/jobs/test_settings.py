"""joblist.toml: written so that it reads back, refused where it makes no sense."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import JoblistError
from jobtool.jobs.settings import LAYOUT_KEYS, Settings, TransferSettings, decode, encode
from jobtool.layouts.layout import Layout
from tests.strategies import some_name

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
settings = st.builds(
    Settings,
    jobtool=text,
    source=st.none() | some_name,
    destination=st.none() | some_name,
    layout=st.dictionaries(
        st.sampled_from(LAYOUT_KEYS), text | st.lists(text) | st.booleans(), max_size=3
    ),
    values=st.dictionaries(st.sampled_from(["destination", "image_folder"]), text),
    s3=st.dictionaries(st.sampled_from(["endpoint_url", "region", "profile"]), text),
    transfer=st.builds(
        TransferSettings,
        threads=st.none() | st.integers(1, 64),
        part_size_bytes=st.none() | st.integers(5 * 2**20, 5 * 2**30),
        max_attempts=st.none() | st.integers(1, 100),
        patience_seconds=st.none() | st.floats(0, 1e6),
        if_exists=st.none() | st.sampled_from(["verify", "overwrite", "error"]),
        verify=st.none() | st.sampled_from(["digest", "read-back"]),
        links=st.none() | st.sampled_from(["follow", "skip", "error", "keep"]),
    ),
)


@given(settings)
def test_settings_survive_the_round_trip(found):
    assert decode(encode(found), path="joblist.toml") == found


@given(settings)
def test_what_is_written_is_toml_with_its_format(found):
    table = tomllib.loads(encode(found))
    assert table["format"] == 1
    assert ("source" in table) == (found.source is not None)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("format = ", "isn't valid TOML"),
        ("", "expected 'format = 1'; found None"),
        ("format = 2", "found 2"),
        ('format = 1\nsource = ["a"]', "source"),
        (
            "format = 1\n[transfer]\nthreads = 'many'",
            r"toml, table \[transfer\], threads: expected a whole number; found text",
        ),
        ("format = 1\n[transfer]\nthreds = 4", "threds"),
        ("format = 1\n[transfer]\nthreads = 0", "threads: expected a whole number of at least 1"),
        ("format = 1\n[transfer]\npart_size_bytes = 5_242_879", "part_size_bytes"),
        ("format = 1\n[transfer]\nmax_attempts = 0", "max_attempts"),
        ("format = 1\n[transfer]\npatience_seconds = -1", "patience_seconds"),
        ("format = 1\n[transfer]\nif_exists = 'skip'", "if_exists"),
        ("format = 1\n[transfer]\nverify = 'no'", "verify"),
        (
            "format = 1\n[transfer]\nlinks = 'copy'",
            "links: expected one of error, follow, keep, skip; found 'copy'",
        ),
        ("format = 1\nvalues = 3", "values"),
        ("format = 1\nsource = '\"/a'", "closing double quote"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_file_and_the_place(document, message):
    with pytest.raises(JoblistError, match=message) as caught:
        decode(document, path="/lists/a b/joblist.toml")
    assert "/lists/a b/joblist.toml" in str(caught.value)


@pytest.mark.parametrize(
    "key", ["secret", "aws_secret_access_key", "session_token", "PASSWORD", "access_key_id"]
)
@pytest.mark.parametrize("table", ["s3", "s3.destination"])
def test_a_secret_is_refused_and_not_repeated(table, key):
    with pytest.raises(JoblistError, match=key) as caught:
        decode(f'format = 1\n[{table}]\n{key} = "hunter2"', path="joblist.toml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        '[[s3.logins]]\npassword = "hunter2"',
        '[s3.password]\nof = "hunter2"',
        '[target_fs]\nprotocol = "sftp"\npassword = 20231114',
        '[target_fs]\nprotocol = "x"\nauth = ["u", "hunter2"]',
        '[target_fs]\nprotocol = "x"\napi_key = "hunter2"',
        '[[target_fs.logins]]\npassword = "hunter2"',
        '[target_fs.headers]\nAuthorization = "Basic hunter2"',
    ],
)
def test_a_secret_is_refused_whatever_its_type_and_depth(table):
    with pytest.raises(JoblistError, match="looks like a secret") as caught:
        decode(f"format = 1\n{table}\n", path="joblist.toml")
    assert not {"hunter2", "20231114"} & set(str(caught.value).split("'"))


def test_a_secret_is_never_written():
    with pytest.raises(JoblistError, match="secret_key"):
        encode(Settings(s3={"secret_key": "hunter2"}))


def test_a_misspelt_key_of_the_layout_is_refused_with_the_right_one():
    text = 'format = 1\n[layout]\npattern = "{a}"\nfiles_matsh = true\n'
    with pytest.raises(JoblistError, match=r"\[layout\]: there is no 'files_matsh'.*'files_match'"):
        decode(text, path="joblist.toml")
    assert set(LAYOUT_KEYS) == {*Layout.__struct_fields__, "preset"}


def test_a_misspelt_choice_is_refused_with_all_of_them_and_the_nearest():
    with pytest.raises(JoblistError) as caught:
        decode('format = 1\n[transfer]\nverify = "readback"\n', path="joblist.toml")
    assert str(caught.value) == (
        "joblist.toml, table [transfer], verify: expected one of digest, read-back; found "
        "'readback'. Did you mean 'read-back'?"
    )
