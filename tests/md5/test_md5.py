"""MD5 by each of the functions that may be here, compared with hashlib."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool import md5
from tests.needs import lack

KIBIBYTE = 1024


@pytest.fixture(scope="module", params=["lanes", "openssl", "hashlib"])
def function(request):
    """The function that adds blocks; None for hashlib."""
    if request.param == "hashlib":
        return None
    found = getattr(md5, f"by_{request.param}")()
    if found is None:
        lack(f"no usable MD5 of {request.param}: gcc, Python.h and AVX2 are needed to build lanes")
    return found


@pytest.fixture(autouse=True)
def chosen(function, monkeypatch):
    monkeypatch.setattr(md5, "block_function", lambda: function)


def hashed(data, *, pieces=1):
    hasher = md5.MD5()
    step = -(-len(data) // pieces) or 1
    for start in range(0, len(data), step):
        hasher.update(data[start : start + step])
    return hasher.hexdigest()


def in_threads(call, messages, *, threads):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, messages))


@given(
    chunks=st.lists(st.binary(max_size=300), max_size=6),
    at=st.integers(0, 6),
    as_view=st.booleans(),
)
def test_a_digest_that_is_resumed_is_that_of_hashlib(chunks, at, as_view):
    before, after = b"".join(chunks[:at]), b"".join(chunks[at:])
    hasher = md5.MD5()
    for chunk in chunks[:at]:
        hasher.update(memoryview(chunk) if as_view else chunk)
    assert hasher.hexdigest() == hashlib.md5(before).hexdigest()
    state = hasher.state
    expected = md5.can_resume() and len(before) % md5.BLOCK_BYTES == 0
    assert (state is not None) == expected
    if state is not None:
        hasher = md5.MD5(state, len(before))
    hasher.update(after)
    assert hasher.hexdigest() == hashlib.md5(before + after).hexdigest()


def test_a_state_is_refused_where_none_can_be_resumed(function):
    if function is not None:
        assert md5.MD5("00" * 16, 64).state == "00" * 16
        return
    with pytest.raises(ValueError, match="can resume"):
        md5.MD5("00" * 16, 64)


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 9, 16, 17, 40])
def test_messages_of_many_threads_and_lengths_are_kept_apart(threads):
    draw = random.Random(threads)
    lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 4096, 65536, 65600, 300_001, 1_500_000]
    messages = [draw.randbytes(draw.choice(lengths)) for _ in range(150)]
    expected = [hashlib.md5(message).hexdigest() for message in messages]
    assert in_threads(hashed, messages, threads=threads) == expected
    assert in_threads(md5.md5_of, messages, threads=threads) == expected


@given(sizes=st.lists(st.integers(0, 20_000), min_size=1, max_size=md5.MOST_TOGETHER))
def test_messages_that_are_hashed_together_have_the_digests_of_hashlib(sizes):
    draw = random.Random(len(sizes))
    messages = [draw.randbytes(size) for size in sizes]
    hashers = [md5.MD5() for _ in messages]
    for start in range(0, max(sizes) + 1, 6400):
        pieces = [memoryview(message)[start : start + 6400] for message in messages]
        md5.update_together(hashers, pieces)
    found = [hasher.hexdigest() for hasher in hashers]
    assert found == [hashlib.md5(message).hexdigest() for message in messages]


@pytest.mark.parametrize("longs", [1, 3])
def test_long_messages_beside_others_have_the_digests_of_hashlib(longs):
    messages = [os.urandom(1_000_003) for _ in range(12)]

    def digest(number):
        hasher = md5.MD5(is_long=number < longs)
        for start in range(0, 1_000_003, 99_968):
            hasher.update(messages[number][start : start + 99_968])
        return hasher.hexdigest()

    expected = [hashlib.md5(message).hexdigest() for message in messages]
    assert in_threads(digest, range(12), threads=12) == expected


def test_lanes_are_used_and_right_with_one_cpu_for_many_threads(function):
    if function is None or function is not md5.by_lanes():
        pytest.skip("the extension's own way to share CPUs")
    code = """
import hashlib, os, random
from concurrent.futures import ThreadPoolExecutor
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the extension counts CPUs
from jobtool import md5
assert md5.by_lanes() is not None
draw = random.Random(1)
messages = [draw.randbytes(draw.choice((300_000, 1_000_001, 3_000_000))) for _ in range(60)]
for threads in (2, 5, 8, 12, 16, 30):
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(md5.md5_of, messages))
    assert found == [hashlib.md5(message).hexdigest() for message in messages], threads
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_length_of_a_message_counts_in_64_bits(function):
    if function is None:
        pytest.skip("hashlib has no state")
    block, before = bytes(64), 2**61  # bytes: the count of bits no longer fits 64 bits
    wrapped, short = md5.MD5("11" * 16, before), md5.MD5("11" * 16, 0)
    wrapped.update(block)
    short.update(block)
    assert wrapped.hexdigest() == short.hexdigest()


def test_a_child_process_hashes_though_a_thread_of_its_parent_was_hashing():
    data = os.urandom(4 * KIBIBYTE * KIBIBYTE)
    expected = hashlib.md5(data).hexdigest()
    stop = threading.Event()

    def hash_on():
        while not stop.is_set():
            hashed(data)

    threads = [threading.Thread(target=hash_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                os._exit(0 if hashed(data) == expected else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_wrong_state_or_a_part_of_a_block_is_refused_by_the_extension(function):
    if function is None or function is not md5.by_lanes():
        pytest.skip("the extension's own check")
    for state, data in ((bytes(15), b""), (bytes(16), bytes(63))):
        with pytest.raises(ValueError, match="expected a state of 16 bytes"):
            function(state, data)


def test_an_extension_that_computes_something_else_is_not_used(monkeypatch):
    code = """
import sys, types
module = types.ModuleType("jobtool.md5._lanes")
module.update = lambda state, data: bytes(16)
sys.modules["jobtool.md5._lanes"] = module
from jobtool import md5
assert md5.by_lanes() is None
print(md5.md5_of(b"x" * 10**6))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == hashlib.md5(b"x" * 10**6).hexdigest(), done.stderr
