"""Keys, seals and what is no sealed reply."""

import base64
import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.miners.whatsminer.cipher import keys_of, seal, sealed_part, unseal
from firmware_adapters.miners.whatsminer.emulator_cipher import Vault
from shared.clock import ManualClock
from shared.errors import MalformedReply

PASSWORD = "s3cret word"
KEYS = keys_of(PASSWORD, salt="BQ5hoXV9", new_salt="dr9b3MRu", time="9350")


def test_keys_come_from_the_password_and_both_salts() -> None:
    # By hand: openssl passwd -1 -salt BQ5hoXV9 admin → $1$BQ5hoXV9$RxmaDUO33TS7O26yeMHZ81, its SHA-256, and
    # openssl passwd -1 -salt dr9b3MRu RxmaDUO33TS7O26yeMHZ819350.
    keys = keys_of("admin", salt="BQ5hoXV9", new_salt="dr9b3MRu", time="9350")
    assert keys.aes.hex() == "199e0a202039bb7b558db7a54697dca29cb278055b7e659a127fb844d5a2fbf6"
    assert keys.sign == "ypDAC6Aoaxh0LUuO8S9vy/"


def test_the_machine_opens_what_was_sealed_and_the_other_way_round() -> None:
    vault = Vault(PASSWORD, ManualClock())
    told = vault.hand_out()
    assert told is not None
    keys = keys_of(PASSWORD, salt=told["salt"], new_salt=told["newsalt"], time=told["time"])
    request = msgspec.json.decode(seal(keys, {"cmd": "power_off"}))
    opened = vault.open(request["data"])
    assert opened == {"cmd": "power_off", "token": keys.sign}
    assert vault.knows(opened["token"])
    reply = msgspec.json.encode({"enc": vault.close(b'{"STATUS":"S"}').decode()})
    hidden = sealed_part(reply)
    assert hidden is not None
    assert unseal(keys, hidden) == b'{"STATUS":"S"}'


def test_another_password_opens_nothing() -> None:
    request = msgspec.json.decode(seal(KEYS, {"cmd": "power_off"}))
    assert Vault("another", ManualClock()).open(request["data"]) is None


@pytest.mark.parametrize("length", range(1, 40))
def test_any_length_is_padded_to_whole_blocks(length: int) -> None:
    sealed = msgspec.json.decode(seal(KEYS, {"cmd": "x" * length}))["data"]
    assert len(base64.b64decode(sealed)) % 16 == 0
    assert msgspec.json.decode(unseal(KEYS, sealed)) == {"cmd": "x" * length, "token": KEYS.sign}


@pytest.mark.parametrize("data", ["", "!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "ä", "=" * 24])
def test_what_is_no_sealed_text_is_malformed(data: str) -> None:
    with pytest.raises(MalformedReply):
        unseal(KEYS, data)


@given(st.binary(max_size=200))
def test_any_bytes_are_sealed_or_not(raw: bytes) -> None:
    found = sealed_part(raw)
    assert found is None or isinstance(found, str)


@given(st.text(max_size=100))
def test_any_text_opens_or_is_malformed(data: str) -> None:
    with contextlib.suppress(MalformedReply):
        assert isinstance(unseal(KEYS, data), bytes)


@pytest.mark.parametrize(
    ("raw", "hidden"),
    [
        (b'{"enc":"abc"}', "abc"),
        (b'{"enc":1,"data":"abc"}', "abc"),
        (b'{"enc":"abc"}\x00', "abc"),
        (b'{"STATUS":"E","Code":45}', None),
        (b'{"enc":0,"data":"abc"}', None),
        (b"[1]", None),
        (b"", None),
    ],
)
def test_both_shapes_of_a_sealed_reply_are_found(raw: bytes, hidden: str | None) -> None:
    assert sealed_part(raw) == hidden


def test_keys_do_not_show_themselves() -> None:
    assert KEYS.sign not in repr(KEYS)
    assert KEYS.aes.hex() not in repr(KEYS)
