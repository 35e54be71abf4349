"""The certificate authority of the fleet: one P-256 key in a file, which signs certificates and revocations.

It signs nothing about itself that a person did not confirm: the service decides, this file only knows how a
certificate of ours looks. Times come in as UTC milliseconds. Nothing here prints or logs a private key.
"""

import datetime
import ipaddress
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import ConfigError
from shared.identity import authority_fingerprint, key_bytes

CA_DAYS: Final = 3650
BACKDATED_MS: Final = 10 * 60_000
"""A certificate is valid from a little before now, for gateways whose clock is a little behind."""
_DAY_MS: Final = 86_400_000


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that was just made."""

    serial: str
    """40 hexadecimal digits, as it is written everywhere."""
    pem: str
    not_before_ms: int
    not_after_ms: int


class Authority:
    """Signs. Never encoded, and shows no key in its `repr`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, name: str, now_ms: int, *, days: int = CA_DAYS) -> "Authority":
        """A new authority with a key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        start, end = now_ms - BACKDATED_MS, now_ms + days * _DAY_MS
        builder = _builder(name, key.public_key(), _name(name), start, end)
        usage = _key_usage(signs_certificates=True)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate_file: Path, key_file: Path) -> "Authority":
        """Read both files; raises `ConfigError`, also where others may read the key."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{certificate_file}: identity.ca_cert cannot be used: {error}") from error
        key = read_key(key_file)
        if key_bytes(key.public_key()) != certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ):
            raise ConfigError(f"{key_file}: this is not the key of {certificate_file}")
        return cls(certificate, key)

    def save(self, certificate_file: Path, key_file: Path) -> None:
        """Write both; a key that is there already is never overwritten (raises `ConfigError`)."""
        write_key(key_file, self._key)
        certificate_file.parent.mkdir(parents=True, exist_ok=True)
        certificate_file.write_text(self.pem)

    @property
    def pem(self) -> str:
        """The authority's certificate: what a broker or gateway trusts others by."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """For people to compare."""
        return authority_fingerprint(self._certificate)

    @property
    def not_after_ms(self) -> int:
        return _ms(self._certificate.not_valid_after_utc)

    def issue(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        now_ms: int,
        *,
        days: int,
        hosts: Sequence[str] = (),
    ) -> Issued:
        """A certificate with the CN `name`: for a client, or for a server where `hosts` are given.

        It never outlives the authority, whose end would make it worthless anyway.
        """
        start = now_ms - BACKDATED_MS
        end = min(now_ms + days * _DAY_MS, self.not_after_ms)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(name, key, self._certificate.subject, start, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        made = builder.sign(self._key, hashes.SHA256())
        return Issued(
            serial=f"{made.serial_number:040x}",
            pem=made.public_bytes(serialization.Encoding.PEM).decode(),
            not_before_ms=_ms(made.not_valid_before_utc),
            not_after_ms=_ms(made.not_valid_after_utc),
        )

    def revocations(self, revoked: Iterable[tuple[str, int]], now_ms: int) -> str:
        """The revocation list over (serial, when revoked), in PEM.

        Its "next update" is the authority's own end: a broker refuses *everybody* once a list is stale, and a
        cloud that is down for a while must not lock out every site. The file is local to the broker, so a
        short life would prove nothing.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(_time(now_ms - BACKDATED_MS))
            .next_update(self._certificate.not_valid_after_utc)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for serial, at_ms in sorted(revoked):
            entry = x509.RevokedCertificateBuilder(int(serial, 16), _time(at_ms))
            builder = builder.add_revoked_certificate(entry.build())
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def __repr__(self) -> str:
        return f"Authority({self.fingerprint}, *****)"


def read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from a file that only its owner can read; raises `ConfigError`."""
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file}: others may read this key; run 'chmod 600 {file}'")
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"{file}: the key cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{file}: this is not a private key in PEM without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{file}: the key must be ECDSA P-256")
    return key


def write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key, mode 0600 from its first byte on; raises `ConfigError` where the file exists."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{file} exists; a key is never overwritten, move it away first") from error
    with os.fdopen(handle, "wb") as out:
        out.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        out.flush()
        os.fsync(out.fileno())


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, issuer: x509.Name, start_ms: int, end_ms: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(start_ms))
        .not_valid_after(_time(end_ms))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _time(at_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_ms // 1000, datetime.UTC)


def _ms(at: datetime.datetime) -> int:
    return round(at.timestamp() * 1000)
