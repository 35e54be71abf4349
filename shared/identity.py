"""What gateway and cloud agree on about certificates: the name inside, a key's short fingerprint, and how a
renewal is proven.

A certificate's only meaning to the broker is its common name (CN), which becomes the user name: a site's CN
is its site id. Names that start with `minewarden-` belong to the cloud's own roles and to third parties.

The fingerprint is what two people compare by telephone: 80 bits over site and public key, in Crockford's
base 32, which has no letters that sound or look like a digit (no I, L, O, U).
"""

import hashlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.errors import ConfigError, SecurityError
from shared.ids import SiteId, checked_id

RESERVED: Final = "minewarden-"
"""No site id may start like this: it would be one of the cloud's broker roles."""
MAX_PEM: Final = 8 * 1024
"""Largest certificate request that is looked at, in characters."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS, _GROUP = 4, 4
_ALIKE: Final = str.maketrans({"O": "0", "I": "1", "L": "1"})
_DIGITS: Final = "zero one two three four five six seven eight nine"
_LETTERS: Final = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel Juliett Kilo Mike November Papa Quebec Romeo Sierra "
    "Tango Victor Whiskey X-ray Yankee Zulu"
)
_SPOKEN: Final = dict(zip("0123456789", _DIGITS.split(), strict=True)) | {
    word[0]: word for word in _LETTERS.split()
}


def site_name(text: str) -> SiteId:
    """`text` as a site's name in a certificate; raises `SecurityError` for one that no site may have."""
    try:
        name = checked_id(text, "site")
    except ConfigError as error:
        raise SecurityError(str(error)) from error
    if name.startswith(RESERVED):
        raise SecurityError(f"{name!r} is reserved for the cloud's own roles; a site needs another id")
    return SiteId(name)


def common_name(name: x509.Name) -> str:
    """The one CN of a subject; raises `SecurityError` where there is none or more than one.

    Programs differ on which of several names counts, so several are never accepted.
    """
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) != 1 or len(list(name)) != 1:
        raise SecurityError("the subject must be one common name (CN) and nothing else")
    return str(found[0].value)


def read_request(pem: str) -> tuple[str, ec.EllipticCurvePublicKey]:
    """(CN, public key) of a certificate request that its own key signed; raises `SecurityError`."""
    if len(pem) > MAX_PEM:
        raise SecurityError(f"a certificate request has at most {MAX_PEM} characters")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        genuine = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise SecurityError(f"this is not a certificate request in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SecurityError("the request's key must be ECDSA P-256, as 'minewarden enroll' makes it")
    if not genuine:
        raise SecurityError("the request is not signed by the key that it names")
    return common_name(request.subject), key


def fingerprint(name: str, key: ec.EllipticCurvePublicKey) -> str:
    """What a person reads out: `K7QM-2XF9-AB3D-W8HT`, over the name and the public key."""
    digest = hashlib.sha256(b"minewarden/1/fingerprint\0" + name.encode() + b"\0" + key_bytes(key)).digest()
    number = int.from_bytes(digest[:10], "big")
    letters = [_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(_GROUPS * _GROUP))]
    text = "".join(letters)
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def heard(text: str) -> str:
    """A fingerprint as a person typed it: any case, any blanks or dashes, O for 0 and I or L for 1."""
    letters = "".join(sign for sign in text.upper().translate(_ALIKE) if sign.isalnum())
    return "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


def spoken(text: str) -> str:
    """A fingerprint in words for the telephone, a comma between groups."""
    return ", ".join(" ".join(_SPOKEN[sign] for sign in group) for group in text.split("-"))


def authority_fingerprint(certificate: x509.Certificate) -> str:
    """64 bits of an authority's SHA-256, in pairs, for two people to compare."""
    return certificate.fingerprint(hashes.SHA256())[:8].hex(":").upper()


def key_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as its SubjectPublicKeyInfo in DER."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def renewal_text(request_pem: str) -> bytes:
    """What the present key signs to ask for its successor."""
    return b"minewarden/1/renew\0" + request_pem.encode()


def prove(request_pem: str, present: ec.EllipticCurvePrivateKey) -> bytes:
    """The present key's word for the request of its successor: ECDSA with SHA-256, DER."""
    return present.sign(renewal_text(request_pem), ec.ECDSA(hashes.SHA256()))


def is_proven(request_pem: str, proof: bytes, present: ec.EllipticCurvePublicKey) -> bool:
    """Whether `present` signed this request."""
    try:
        present.verify(proof, renewal_text(request_pem), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
