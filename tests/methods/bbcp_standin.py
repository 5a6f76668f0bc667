"""A stand-in for bbcp, for machines without it: its flags, messages and exit codes. It does copy.

Like bbcp it runs in three roles. The one that is called starts the other two, ``SRC`` and ``SNK``:
itself for this machine, else the command of ``-S`` or ``-T``, split at spaces. It sends them their
options and paths by their standard input. One of them listens, and the other connects: the receiver
listens, with ``-z`` the sender. Written after bbcp's documentation and the behaviour of its source
(see ``jobtool/methods/bbcp.py``). It takes one file, and one connection whatever ``-s`` says.

``STANDIN_FAULT`` has it go wrong: ``fail``, ``hang`` (for ever), ``deaf`` (no port is open). Or it
lies, with exit code 0: ``nothing``, ``half``, ``wrong`` bytes, ``elsewhere``, under another name.
With ``by-name`` it is the last word of the file's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time

BLOCK = 64 * 1024
FIRST_PORT, LAST_PORT = 5031, 5131

WITH_VALUE = "BbCdEiILlmqPRsStTuUwWxyZ"
WITH_OPTIONAL = "ac4"
WITHOUT = "DefFghkKnoOprvVz"


def say(text: str) -> None:
    print(f"bbcp: {text}", file=sys.stderr, flush=True)


def fail(code: int, text: str) -> None:
    say(text)
    raise SystemExit(code)


def options_of(words: list[str]) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    while words and words[0].startswith("-"):
        letters = words.pop(0)[1:]
        for letter in letters:
            if letter in WITH_VALUE:
                if not words or words[0].startswith("-"):
                    fail(255, f"Value not specified for '-{letter}'.")
                found[letter] = words.pop(0)
            elif letter in WITH_OPTIONAL:
                is_given = words and not words[0].startswith("-")
                found[letter] = words.pop(0) if is_given else ""
            elif letter in WITHOUT:
                found[letter] = ""
            else:
                fail(255, f"Invalid option, '-{letter}'.")
    return found, words


def size_of(text: str) -> int:
    units = {"k": 2**10, "m": 2**20, "g": 2**30}
    unit = units.get(text[-1].lower(), 1)
    return int(text.rstrip("kKmMgG")) * unit


def address(text: str) -> tuple[str, str]:
    """Return the host, empty for this one, and the path."""
    match = re.fullmatch(r"(?:(?:[^@/:]*@)?(\[[^]]*\]|[^:/]*):)?(.*)", text, re.DOTALL)
    assert match is not None
    return match.group(1) or "", match.group(2)


# ---- the role that is called ----


def control(words: list[str]) -> int:
    options, paths = options_of(words)
    if len(paths) != 2:
        fail(1, "Copy source or target not specified.")
    if not 1 <= int(options.get("s", "4")) <= 64:
        fail(1, f"Invalid streams - {options['s']}")
    if "x" in options and not 1024 <= size_of(options["x"]) <= 2**30:
        fail(1, f"Invalid transfer rate - {options['x']}")
    size_of(options.get("w", "128k").removeprefix("="))
    source, target = address(paths[0]), address(paths[1])
    default = "ssh -x -a -oFallBackToRsh=no %I -l %U %H bbcp"
    roles = [("SNK", target, options.get("T", default)), ("SRC", source, options.get("S", default))]
    if "z" in options:
        roles.reverse()
    processes = []
    fault = os.environ.get("STANDIN_FAULT", "")
    if fault == "by-name":
        fault = os.path.basename(source[1]).rpartition("-")[2]
    if fault == "nothing":
        return 0
    callback = ("none", 0)
    for name, (host, path), command in roles:
        process = started(name, host, command)
        processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        told = {"options": options, "path": path, "host": callback[0], "port": callback[1]}
        told["fault"] = fault
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        if name == roles[0][0]:
            line = process.stdout.readline().split()
            if line[:2] != ["200", "Port:"]:
                fail(255, f"bbcp unexpectedly terminated on {host or socket.gethostname()}")
            callback = (host.strip("[]") or "127.0.0.1", int(line[2]))
    for process in reversed(processes):
        code = process.wait()
        if code:
            for other in processes:
                other.terminate()
            return code
    return 0


def started(role: str, host: str, command: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-I", "-S", __file__]
    if host:
        words = [host if word == "%H" else word for word in command.split(" ") if word]
        words = [word for word in words if word != "%I"]
    return subprocess.Popen(
        [*words, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# ---- the two sides ----


def side(role: str) -> int:
    told = json.loads(sys.stdin.readline())
    options, path = told["options"], told["path"]
    os.set_blocking(sys.stdin.fileno(), False)  # it ends when the one that has called it is gone
    told["path"] = re.split(r"[ \t\n]", path)[0]
    connection = connected(told, listens=(role == "SRC") == ("z" in options))
    try:
        return send(connection, told) if role == "SRC" else receive(connection, told)
    except OSError as error:
        fail(29, f"{error.strerror} on the data connection")
        raise


def connected(told: dict, *, listens: bool) -> socket.socket:
    if not listens:
        where = told["host"], told["port"]
        try:
            return socket.create_connection(where, 10)
        except OSError as error:
            fail(2, f"{error.strerror} unable to connect to {where[0]} port {where[1]}")
    first, _, last = told["options"].get("Z", f"{FIRST_PORT}:{LAST_PORT}").partition(":")
    for port in range(int(first), int(last) + 1):
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
            break
        except OSError:
            server.close()
    else:
        fail(2, "Address already in use binding socket")
    server.listen(8)
    if told["fault"] == "deaf":
        server.close()
    print(f"200 Port: {port}", flush=True)
    if told["fault"] == "deaf":
        fail(2, f"Accept timed out on port {port}")
    server.settimeout(30)
    try:
        return server.accept()[0]
    except TimeoutError:
        fail(2, f"Accept timed out on port {port}")
        raise


def send(connection: socket.socket, told: dict) -> int:
    options, path, fault = told["options"], told["path"], told["fault"]
    lines = connection.makefile("rw")
    try:
        found = os.stat(path)
    except OSError as error:
        print("eol", file=lines, flush=True)
        fail(2, f"{error.strerror} processing {path}")
    mode = found.st_mode & 0o7777
    facts = [found.st_ino, found.st_size, int(found.st_mtime), os.path.basename(path), mode]
    print(json.dumps(facts), file=lines, flush=True)
    answer = lines.readline().split()
    if answer[0] == "exit":
        return int(answer[1])
    offset, began = int(answer[1]), time.monotonic()
    limit = size_of(options["x"]) if "x" in options else None
    half = offset + (found.st_size - offset) // 2
    with open(path, "rb") as file:
        file.seek(offset)
        while data := file.read(BLOCK):
            if fault and file.tell() > half:
                at_half(fault)
                if fault == "half":
                    return 0
                if fault == "wrong":
                    data = bytes(byte ^ 1 for byte in data)
            connection.sendall(data)
            if limit is not None:
                too_early = (file.tell() - offset) / limit - (time.monotonic() - began)
                time.sleep(max(too_early, 0))
    connection.shutdown(socket.SHUT_WR)
    return 0


def at_half(fault: str) -> None:
    if fault == "fail":
        fail(29, "Input/output error reading the file")
    while fault == "hang":
        time.sleep(0.05)
        require_caller()


def require_caller() -> None:
    """End if the one that has called is gone, as bbcp does."""
    try:
        if os.read(sys.stdin.fileno(), 1) == b"":
            os._exit(8)
    except BlockingIOError:
        pass


def receive(connection: socket.socket, told: dict) -> int:
    options, path, fault = told["options"], told["path"], told["fault"]
    lines = connection.makefile("rw")
    line = lines.readline()
    if line == "eol\n":
        return 0
    *source, name, mode = json.loads(line)
    size = source[1]
    offset, signature = 0, None
    if "a" in options:
        folder = os.stat(os.path.dirname(path)).st_ino
        host = connection.getpeername()[0]
        last = os.path.basename(path)
        signature = os.path.join(options["a"], f"bbcp.{host}.{folder:x}.{last}")
    if os.path.exists(path):
        offset = appended(path, signature, [*source, name], options)
        if offset is None:
            print("exit 22", file=lines, flush=True)
            return 22
        if offset == size:
            finish(path, signature, source, mode, options)
            print("exit 0", file=lines, flush=True)
            return 0
    if "f" in options:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    elif signature is not None:
        with open(signature, "w") as file:
            json.dump([*source, name], file)
    print(f"get {offset}", file=lines, flush=True)
    if fault == "elsewhere":
        path += ".other"
    say(f"Appending to {path} at offset {offset}" if signature else f"Creating {path}")
    try:
        arrived = write(connection, options, path, offset, size)
    except BaseException:
        if "k" not in options:
            os.unlink(path)
        raise
    if arrived != size and fault != "half":
        fail(29, f"Not all data was transfered for {path}")
    finish(path, signature, source, mode, options)
    return 0


def appended(path: str, signature: str | None, source: list, options: dict) -> int | None:
    """Return the offset to go on at; None if that isn't possible."""
    there = os.path.getsize(path)
    if signature is None:
        if "f" in options:
            return 0
        say(f"File {path} already exists.")
        return None
    if os.path.exists(signature):
        with open(signature) as file:
            if json.load(file) == source:
                return there
        say(f"Source file '{source[-1]}' appears to have changed after the previous copy ended.")
        return None
    if there == source[1]:
        say(f"File {path} appears to have already been copied; copy skipped.")
        return there
    say(f"File {path} changed since the copy completed; append not possible.")
    return None


def write(connection: socket.socket, options: dict, path: str, offset: int, size: int) -> int:
    every = float(options["P"]) if "P" in options else None
    connection.settimeout(0.05)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o200)
    began = reported = time.monotonic()
    arrived = before = offset
    with open(descriptor, "wb") as file:
        file.seek(offset)
        while True:
            require_caller()
            try:
                data = connection.recv(BLOCK)
                if not data:
                    return arrived
                file.write(data)
                file.flush()
                arrived += len(data)
            except TimeoutError:
                pass
            now = time.monotonic()
            if every is not None and now - reported >= every / REPORTS_FASTER:
                percent = (arrived - offset) * 100 // max(size - offset, 1)
                stamp = time.strftime("%y%m%d %H:%M:%S")
                rate = (arrived - before) / (now - reported) / 1024
                mean = (arrived - offset) / (now - began) / 1024
                say(f"{stamp} {percent}% done; {rate:.1f} KB/s, avg {mean:.1f} KB/s")
                reported, before = now, arrived


#: Tests shouldn't wait for seconds.
REPORTS_FASTER = 20


def finish(path: str, signature: str | None, source: list, mode: int, options: dict) -> None:
    if "p" in options:
        os.utime(path, (source[2], source[2]))
        os.chmod(path, mode)
    else:
        os.chmod(path, 0o644)
    if signature is not None and os.path.exists(signature):
        os.unlink(signature)


def main(words: list[str]) -> int:
    """Run one role."""
    if words[:1] in (["SRC"], ["SNK"]):
        return side(words[0])
    return control(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
