"""Packages that the command made arrive, and other programs read their tars."""

from __future__ import annotations

import os
import tarfile

from tests.commands import run


def test_items_with_hostile_names_arrive_in_tars_that_python_reads(place) -> None:
    names = [b"new\nline", b"\xff\xfe", b" a -> b", "–ü".encode(), b"-x", b"c" * 200]
    for name in names:
        folder = os.fsencode(place.source) + b"/" + name
        os.mkdir(folder)
        with open(folder + b"/" + name, "wb") as file:
            file.write(name)
        os.chmod(folder + b"/" + name, 0o640)
    place.make("--package-size", "20")
    done = run("transfer-worker", place.joblist)
    assert done.exit_code == 0, done
    found: dict[bytes, tuple[bytes, int]] = {}
    tars = sorted((place.root / "out").glob("*.tar"))
    assert len(tars) == len(place.packages()) > 1
    for tar in tars:
        with tarfile.open(tar) as opened:
            for member in opened:
                file = opened.extractfile(member)
                assert file is not None
                found[os.fsencode(member.name)] = (file.read(), member.mode)
    assert found == {name + b"/" + name: (name, 0o640) for name in names}


def test_a_file_that_changes_before_it_is_sent_is_an_error_of_its_package(place) -> None:
    place.item("a", 10)
    place.make()
    toml = place.joblist / "joblist.toml"
    toml.write_text(toml.read_text().replace("backoff_seconds = 60.0", "backoff_seconds = 0.0"))
    (place.source / "a" / "f0").write_bytes(b"longer than before")
    done = run("transfer-worker", place.joblist)
    assert done.exit_code == 1, done
    assert "f0" in (place.joblist / "list-0001.copy.txt").read_text()
    assert not (place.root / "out" / "list-0001.tar").exists()
