"""A key and the certificate to it, and what makes them fit for this site."""

import datetime

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.errors import SecurityError
from shared.identity import common_name, key_bytes
from shared.ids import SiteId


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate's validity, UTC milliseconds."""

    start_ms: int
    end_ms: int

    def is_valid(self, now_ms: int) -> bool:
        return self.start_ms <= now_ms < self.end_ms

    def left_share(self, now_ms: int) -> float:
        """How much of its life is left, 1 to 0."""
        return max(0.0, (self.end_ms - now_ms) / max(1, self.end_ms - self.start_ms))


class Pair:
    """A private key with its certificate. Its `repr` shows no key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @property
    def span(self) -> Span:
        return Span(
            start_ms=_ms(self.certificate.not_valid_before_utc),
            end_ms=_ms(self.certificate.not_valid_after_utc),
        )

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:040x}"

    @property
    def name(self) -> str:
        """The CN; raises `SecurityError` where there is not exactly one."""
        return common_name(self.certificate.subject)

    def pem(self) -> bytes:
        """Both as one PEM text, so that one rename replaces both: certificate first, then key."""
        return self.certificate.public_bytes(serialization.Encoding.PEM) + key_pem(self.key)

    def check(self, site: SiteId, ca_pem: str, now_ms: int) -> None:
        """Raise `SecurityError` with a sentence for a person, unless this pair may speak for `site` now."""
        if self.name != site:
            raise SecurityError(
                f"the certificate is for {self.name!r}, but this site file's id is {site!r}; a certificate "
                "cannot change its name: enrol again"
            )
        if key_bytes(self.key.public_key()) != _public(self.certificate):
            raise SecurityError("the certificate belongs to another key; it was not made for this gateway")
        _check_issuer(self.certificate, ca_pem)
        if now_ms < self.span.start_ms:
            raise SecurityError(
                f"the certificate is valid from {when(self.span.start_ms)} on, and this gateway's clock says "
                f"{when(now_ms)}: the clock is wrong, see 'timedatectl'"
            )
        if now_ms >= self.span.end_ms:
            raise SecurityError(
                f"the certificate ended {when(self.span.end_ms)}, and this gateway's clock says "
                f"{when(now_ms)}: if the clock is right, enrol again"
            )

    def __repr__(self) -> str:
        return f"Pair({self.serial}, *****)"


def new_key() -> ec.EllipticCurvePrivateKey:
    """ECDSA P-256: small, and every broker and security module has it."""
    return ec.generate_private_key(ec.SECP256R1())


def make_request(site: SiteId, key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate request for the CN `site`, in PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def read_pair(data: bytes) -> Pair:
    """Take one PEM text with certificate and key apart; raises `SecurityError`."""
    return Pair(read_private(data), read_certificate(data.decode(errors="replace")))


def read_private(data: bytes) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from PEM; raises `SecurityError`, never with any of the text in it."""
    start = data.find(b"-----BEGIN PRIVATE KEY-----")
    try:
        key = serialization.load_pem_private_key(data[max(start, 0) :], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SecurityError("there is no usable private key in it") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SecurityError("the key is not an ECDSA key")
    return key


def read_certificate(pem: str) -> x509.Certificate:
    """The first certificate of a PEM text; raises `SecurityError`."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise SecurityError(f"this is not a certificate in PEM: {error}") from error


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS 8 without a password: what protects it is the file's mode."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def when(at_ms: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC):%Y-%m-%d %H:%M} UTC"


def _check_issuer(certificate: x509.Certificate, ca_pem: str) -> None:
    try:
        authorities = x509.load_pem_x509_certificates(ca_pem.encode())
    except ValueError as error:
        raise SecurityError(f"the authority that came with the certificate is not PEM: {error}") from error
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return
    raise SecurityError("the certificate was not signed by the authority that came with it")


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _ms(at: datetime.datetime) -> int:
    return round(at.timestamp() * 1000)
