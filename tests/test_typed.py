"""Types that several threads use first at the same time; msgspec alone ends such a process."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Annotated, Any

import msgspec
import pytest

from jobtool import typed

THREADS = 4


def race(function: str) -> None:
    """Have threads read 60 new types, each type first by all of them at once."""
    sys.setswitchinterval(1e-4)
    for number in range(60):
        fields: list[Any] = [(f"f{at}", Annotated[int, msgspec.Meta(ge=0)], 0) for at in range(30)]
        inner = msgspec.defstruct(f"Inner{number}", fields)
        outer = msgspec.defstruct(
            f"Outer{number}", [*((f"i{at}", inner | None, None) for at in range(9)), *fields]
        )
        together = threading.Barrier(THREADS)

        def read(outer: Any = outer, together: threading.Barrier = together) -> None:
            together.wait()
            value = {"i0": {"f29": 7}, "i8": {"f0": 1}, "f29": 3}
            if function == "decode":
                found = typed.decode(msgspec.json.encode(value), outer)
            else:
                found = typed.convert(value, outer)
            assert (found.i0.f29, found.i8.f0, found.f29) == (7, 1, 3)

        threads = [threading.Thread(target=read) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("function", ["decode", "convert"])
def test_threads_that_use_a_type_first(function: str) -> None:
    script = f"import tests.test_typed as here; here.race({function!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_unions_and_plain_json() -> None:
    class A(msgspec.Struct, tag="a"):
        x: int

    class B(msgspec.Struct, tag="b"):
        y: str

    assert typed.decode(b'{"type": "b", "y": "text"}', A | B) == B("text")
    assert typed.convert({"type": "a", "x": "3"}, A | B, strict=False) == A(3)
    assert typed.decode('{"x": [1, null]}') == {"x": [1, None]}
    with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
        typed.decode(b'{"type": "a", "x": "3"}', A | B)
