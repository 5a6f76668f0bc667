"""Puts a folder by one of fsspec's filesystems: a peer of ``tests.benchmarks.stores``.

    python fsspec_put.py '{"protocol": "s3", "options": {…}, "source": FOLDER, "target": PATH}'

A protocol with dots in it is the name of a class instead.
Imports nothing but fsspec, since its filesystems may need other versions of clients than jobtool.
With ``"source": null`` it prints how many files and bytes are at the target.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import fsspec


def main() -> None:
    """Put, or count."""
    told = json.loads(sys.argv[1])
    module, _, name = told["protocol"].rpartition(".")
    kind = getattr(importlib.import_module(module), name) if module else None
    fs = fsspec.filesystem(name, **told["options"]) if kind is None else kind(**told["options"])
    source, target = told["source"], told["target"]
    if source is None:
        found = fs.find(target, detail=True)
        print(len(found), sum(entry["size"] for entry in found.values()))
    elif kind is None:
        # With a slash at its end, what is in the folder is put into the target.
        fs.makedirs(target, exist_ok=True)
        fs.put(f"{source}/", f"{target}/", recursive=True)
    else:  # the one of paramiko takes no folders
        files = []
        for folder, _, names in os.walk(source):
            files += [os.path.join(folder, name) for name in names]
            fs.makedirs(f"{target}/{os.path.relpath(folder, source)}", exist_ok=True)
        fs.put(files, [f"{target}/{os.path.relpath(path, source)}" for path in files])


if __name__ == "__main__":
    main()
