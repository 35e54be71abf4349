"""Names in certificates, fingerprints for the telephone, and the proof of a renewal."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SecurityError
from shared.identity import MAX_PEM, fingerprint, heard, is_proven, prove, read_request, site_name, spoken

KEY = ec.derive_private_key(7, ec.SECP256R1())


def csr(*names: tuple[x509.ObjectIdentifier, str], key: ec.EllipticCurvePrivateKey = KEY) -> str:
    subject = x509.Name([x509.NameAttribute(kind, text) for kind, text in names])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


CN, ORG = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME


def test_a_request_gives_its_name_and_key() -> None:
    name, key = read_request(csr((CN, "north")))
    assert (name, key.public_numbers()) == ("north", KEY.public_key().public_numbers())


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (csr(), "one common name"),
        (csr((CN, "north"), (CN, "south")), "one common name"),
        (csr((CN, "north"), (ORG, "us")), "one common name"),
        (csr((ORG, "north")), "one common name"),
        (csr((CN, "north"), key=ec.generate_private_key(ec.SECP384R1())), "ECDSA P-256"),
        ("", "not a certificate request"),
        (
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "not a certificate",
        ),
        ("x" * (MAX_PEM + 1), "at most"),
        ("ä" * 10, "not a certificate request"),
    ],
)
def test_a_request_that_could_mean_two_things_is_refused(pem: str, why: str) -> None:
    with pytest.raises(SecurityError, match=why):
        read_request(pem)


def test_an_rsa_request_and_a_swapped_key_are_refused() -> None:
    subject = x509.Name([x509.NameAttribute(CN, "north")])
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    )
    with pytest.raises(SecurityError, match="ECDSA"):
        read_request(made.public_bytes(serialization.Encoding.PEM).decode())
    good = x509.load_pem_x509_csr(csr((CN, "north")).encode()).public_bytes(serialization.Encoding.DER)
    other = x509.load_pem_x509_csr(csr((CN, "south")).encode()).public_bytes(serialization.Encoding.DER)
    assert len(good) - len(other) < 4
    forged = good.replace(b"north", b"south")
    pem = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(SecurityError, match="not signed by the key"):
        read_request(pem)


@given(st.binary(max_size=600))
def test_noise_is_refused_and_never_crashes(noise: bytes) -> None:
    with pytest.raises(SecurityError):
        read_request(noise.decode("latin-1"))


@pytest.mark.parametrize(
    "text", ["minewarden-ingest", "minewarden-x", "North", "", "a/b", "+", "#", "a" * 64]
)
def test_a_name_that_would_be_a_role_or_a_wildcard_is_no_site(text: str) -> None:
    with pytest.raises(SecurityError):
        site_name(text)


def test_the_fingerprint_binds_name_and_key() -> None:
    text = fingerprint("north", KEY.public_key())
    assert text == "SGA9-06BD-GW2V-PC0E"  # fixed for ever: people compare it across versions
    assert text != fingerprint("south", KEY.public_key())
    assert text != fingerprint("north", ec.derive_private_key(8, ec.SECP256R1()).public_key())


@given(st.integers(1, 2**60))
def test_a_fingerprint_survives_the_telephone(number: int) -> None:
    text = fingerprint("north", ec.derive_private_key(number, ec.SECP256R1()).public_key())
    assert heard(text.lower()) == heard(text.replace("-", " ")) == text
    assert heard(text.replace("0", "o").replace("1", "l")) == text
    assert len(spoken(text).replace(",", "").split()) == 16


def test_only_the_present_key_can_ask_for_its_successor() -> None:
    pem = csr((CN, "north"))
    proof = prove(pem, KEY)
    assert is_proven(pem, proof, KEY.public_key())
    assert not is_proven(pem + "\n", proof, KEY.public_key())
    assert not is_proven(pem, proof, ec.generate_private_key(ec.SECP256R1()).public_key())
    assert not is_proven(pem, b"", KEY.public_key())
