"""As much of an LDAP server as a login needs: it accepts one name with one password."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator

_INVALID_CREDENTIALS = 49  # RFC 4511, A.1


def _value(message: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the value of the first element of a BER message, and what is behind it."""
    assert message[0] == tag
    assert message[1] < 128  # a short length
    end = 2 + message[1]
    return message[2:end], message[end:]


def _binding(message: bytes) -> tuple[bytes, str, str] | None:
    """Return number, name and password of a simple bind request (RFC 4511, 4.2)."""
    number, operation = _value(_value(message, 0x30)[0], 0x02)
    if operation[0] != 0x60:
        return None
    name, password = _value(_value(_value(operation, 0x60)[0], 0x02)[1], 0x04)
    return number, name.decode(), _value(password, 0x80)[0].decode()


@contextlib.contextmanager
def ldap_server(name: str, password: str) -> Iterator[str]:
    """Run the server; yield its URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while asked := self.request.recv(4096):
                found = _binding(asked)
                if found is None:
                    return  # it says goodbye
                code = 0 if found[1:] == (name, password) else _INVALID_CREDENTIALS
                number = bytes([2, len(found[0])]) + found[0]
                answer = bytes([0x61, 7, 0x0A, 1, code, 4, 0, 4, 0])
                self.request.sendall(bytes([0x30, len(number + answer)]) + number + answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ldap://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
