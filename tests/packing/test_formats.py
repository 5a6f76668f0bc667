"""The two formats: any program opens what jobtool makes, and jobtool believes none."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import random
import subprocess
import sys

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import SourceError, StoreError, UsageError
from jobtool.jobs.forms import ENDINGS, FORMS, LOST_ENDINGS, form_for, planned_path, stored_path
from jobtool.md5 import md5_of
from jobtool.transfer.packing.checked import TRIED_BYTES, CheckedCompressor, compressed, saved_share
from jobtool.transfer.packing.codecs import codec_of, require_usable
from jobtool.transfer.packing.contents import PIECE_BYTES, Contents
from jobtool.transfer.packing.trailer import Original, original_in, trailer_bytes, trailer_of

TEXT = b"".join(b"%d\t%d\n" % (number, number * number) for number in range(90_000))  # 1.4 MB
NOISE = random.Random(0).randbytes(TRIED_BYTES)

PACKED = pytest.mark.parametrize("form", ENDINGS)


@functools.cache
def pack(form, data=TEXT, step=PIECE_BYTES):
    made = CheckedCompressor("a", codec_of(form), len(data))
    pieces = [made.feed(data[at : at + step]) for at in range(0, len(data), step)]
    packed = b"".join([*pieces, made.finish()])
    assert (made.md5, made.packed_md5, made.packed_size) == (
        md5_of(data),
        md5_of(packed),
        len(packed),
    )
    return packed


def contents_of(form, packed):
    return Contents("s3://b/a", len(packed), form, lambda at, size: packed[at : at + size])


@PACKED
@pytest.mark.parametrize("step", [1000, PIECE_BYTES, 10**9])
def test_other_programs_open_what_was_made_piece_by_piece(form, step, tmp_path):
    data = TEXT[:20_000] if step == 1000 else TEXT
    packed = pack(form, data, step)
    if form == "gzip":
        assert gzip.decompress(packed) == data
        assert subprocess.run(["gzip", "-dc"], input=packed, stdout=-1, check=True).stdout == data
    else:
        opener = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed))
        assert opener.read() == data
        assert zstandard.get_frame_parameters(packed).has_checksum
        assert zstandard.get_frame_parameters(packed).content_size == len(data)


@PACKED
def test_the_trailer_says_what_the_original_is_and_no_other_file_has_one(form):
    packed = pack(form)
    original = Original(md5_of(TEXT), len(TEXT))
    assert original_in(form, packed) == original
    assert original_in(form, packed[-trailer_bytes(form) :]) == original
    for other in (b"", packed[:-1], packed[: -trailer_bytes(form)], NOISE, gzip.compress(TEXT)):
        assert original_in(form, other) is None


@PACKED
@given(md5=st.binary(min_size=16, max_size=16), size=st.integers(0, 2**64 - 1))
def test_a_trailer_is_read_as_it_was_written(form, md5, size):
    original = Original(md5.hex(), size)
    trailer = trailer_of(form, original)
    assert len(trailer) == trailer_bytes(form)
    assert original_in(form, b"before" + trailer) == original


@PACKED
def test_the_content_is_read_in_bounded_pieces_with_both_digests(form):
    packed = pack(form)
    contents = contents_of(form, packed)
    pieces = [*contents.pieces(len(TEXT))]
    assert b"".join(pieces) == TEXT
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert (contents.md5, contents.size) == (md5_of(TEXT), len(TEXT))
    assert contents.packed_md5 == md5_of(packed)


@PACKED
def test_a_file_that_unpacks_to_more_than_it_may_is_left_at_once(form):
    packed = pack(form, bytes(3 * PIECE_BYTES))
    assert len(packed) < PIECE_BYTES
    contents = contents_of(form, packed)
    with pytest.raises(SourceError, match=r"s3://b/a: expected 100 bytes in it; found more"):
        [*contents.pieces(100)]
    assert contents.size <= PIECE_BYTES


@PACKED
@pytest.mark.parametrize("damage", ["flipped", "cut", "noise", "empty"])
def test_damage_is_an_error_or_another_digest(form, damage):
    packed = bytearray(pack(form))
    if damage == "flipped":
        packed[len(packed) // 2] ^= 1
    elif damage == "cut":
        del packed[len(packed) // 2 :]
    else:
        packed[:] = NOISE if damage == "noise" else b""
    contents = contents_of(form, bytes(packed))
    with contextlib.suppress(SourceError):
        [*contents.pieces(len(TEXT))]
    assert contents.md5 != md5_of(TEXT)
    if damage == "noise":
        with pytest.raises(SourceError, match=f"s3://b/a can't be opened as {form}: "):
            [*contents_of(form, NOISE).pieces(len(TEXT))]


@PACKED
def test_what_does_not_shrink_in_its_first_mebibyte_is_left_as_it_is(form):
    codec = codec_of(form)
    assert compressed("a", codec, NOISE) is None
    assert compressed("a", codec, NOISE + TEXT) is None
    assert compressed("a", codec, TEXT[:100]) is None, "too small for a trailer"
    assert compressed("a", codec, pack(form)) is None
    packed, md5 = compressed("a", codec, TEXT)
    assert (packed, md5) == (pack(form), md5_of(packed))
    assert saved_share(codec, TEXT[:TRIED_BYTES]) < 0.6


@PACKED
def test_a_small_file_that_shrinks_only_at_its_beginning_is_left_as_it_is(form):
    rest = random.Random(1).randbytes(8 * TRIED_BYTES)
    assert compressed("a", codec_of(form), TEXT[:TRIED_BYTES] + rest) is None


class Lying:
    """Compresses, and changes a byte."""

    def __init__(self, inner, place):
        self.inner, self.place = inner, place

    def feed(self, data):
        return self.spoilt(self.inner.feed(data), "feed")

    def finish(self):
        return self.spoilt(self.inner.finish(), "finish")

    def spoilt(self, packed, place):
        if place != self.place:
            return packed
        return packed[:-1] + bytes([packed[-1] ^ 1]) if self.place == "finish" else packed[:-30]


@PACKED
@pytest.mark.parametrize("place", ["feed", "finish"])
def test_no_compressor_is_believed(form, place):
    codec = codec_of(form)
    lying = replace(codec, compress=lambda size: Lying(codec.compress(size), place))
    made = CheckedCompressor("/data/a", lying, len(TEXT))
    if place == "finish":
        made.feed(TEXT)
    with pytest.raises(StoreError, match=f"/data/a: what {form} made of it doesn't open") as error:
        made.feed(TEXT) if place == "feed" else made.finish()
    assert error.value.retryable


def test_names_of_forms_go_both_ways():
    for form in FORMS:
        planned = "s3://b/a" + LOST_ENDINGS.get(form, "")
        assert planned_path(stored_path(planned, form), form) == planned
    assert planned_path("a.zst", None) == planned_path("a.zst", "of a later version") == "a.zst"
    assert [form_for(path, "unpack") for path in ("a.zst", "b/a.gz", "a", "b/.gz", "zst")] == [
        "unpack-zstd",
        "unpack-gzip",
        None,
        None,
        None,
    ]
    assert [form_for("a.zst", one) for one in ("none", "zstd", "gzip")] == [None, "zstd", "gzip"]


def test_compression_needs_its_library_and_jobtools_own_method(monkeypatch):
    require_usable("none", ("other",))
    require_usable("zstd", ("server-side", "stream"))
    with pytest.raises(UsageError, match=r"found distcp, stream\. Leave out distcp, or the compr"):
        require_usable("gzip", ("distcp", "stream"))
    with pytest.raises(UsageError, match="expected the method 'stream'"):
        require_usable("unpack", ("server-side",))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    require_usable("gzip", ("stream",))
    for compression in ("zstd", "unpack"):
        with pytest.raises(UsageError, match=r"pip install 'jobtool\[compression\]'"):
            require_usable(compression, ("stream",))
    with pytest.raises(UsageError, match="needs the Python module zstandard"):
        codec_of("zstd")
