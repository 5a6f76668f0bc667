"""A certificate authority for tests: quickly made certificates for any name."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates of servers; ``path`` is its own, as ``AWS_CA_BUNDLE`` names it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.path = folder / f"{name}.pem"
        self._certificate = self._sign(self._name, self._key, None)
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @cached_property
    def _leaf_key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    def context_for(self, host: str) -> ssl.SSLContext:
        """The TLS of a server of that name, with a certificate of this authority."""
        if host not in self._contexts:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
            certificate = self._sign(subject, self._leaf_key, host)
            self._contexts[host] = self._context(certificate, self._leaf_key, "leaf")
        return self._contexts[host]

    def own_context(self) -> ssl.SSLContext:
        """The TLS of a server that shows the authority's certificate as its own."""
        return self._context(self._certificate, self._key, "own")

    def _context(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, name: str
    ) -> ssl.SSLContext:
        path = self._folder / f"{name}.chain"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        if host is not None:
            names.append(x509.DNSName(host))
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        return builder.sign(self._key, hashes.SHA256())
