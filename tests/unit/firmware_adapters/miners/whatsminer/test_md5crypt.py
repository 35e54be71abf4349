"""md5-crypt against published results, the emulator's own, and openssl's where there is one."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.miners.whatsminer.emulator_cipher import unix_md5_crypt
from firmware_adapters.miners.whatsminer.md5crypt import md5crypt

SALTS = st.text("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("password", "salt", "hashed"),
    [
        # passlib's and glibc's own test vectors
        ("", "dOHYPKoP", "tnxS1T8Q6VVn3kpV8cN6o."),
        (" ", "m/5ee7ol", "bZn0kIBFipq39e.KDXX8I0"),
        ("test", "ec6XvcoW", "ghEtNK2U1MC5l.Dwgi3020"),
        ("Compl3X AlphaNu3meric", "nX1e7EeI", "ljQn72ZUgt6Wxd9hfvHdV0"),
        ("4lpHa N|_|M3r1K W/ Cur5Es: #$%(*)(*%#", "jQS7o98J", "V6iTcr71CGgwW2laf17pi1"),
        ("test", "SuMrG47N", "ymvzYjr7QcEQjaK5m1PGx1"),
        ("Hello world!", "saltstring", "YMyguxXMBpd2TEZ.vS/3q1"),
    ],
)
def test_published_results(password: str, salt: str, hashed: str) -> None:
    assert md5crypt(password.encode(), salt.encode()) == hashed
    assert unix_md5_crypt(password.encode(), salt[:8].encode()) == hashed.encode()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=70), SALTS)
def test_both_sides_agree_though_written_apart(password: bytes, salt: str) -> None:
    assert md5crypt(password, salt.encode()) == unix_md5_crypt(password, salt.encode()).decode()


@settings(max_examples=8, deadline=None)
@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=40), SALTS)
def test_openssl_agrees(password: str, salt: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine to compare with")
    command = [openssl, "passwd", "-1", "-salt", salt, "-stdin"]
    said = subprocess.run(command, input=password + "\n", capture_output=True, text=True, check=True).stdout
    assert said.strip().rpartition("$")[2] == md5crypt(password.encode(), salt.encode())
