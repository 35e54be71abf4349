"""Bytes that come from elsewhere become a message or a `WireError`, never anything else."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import WireError
from shared.wire import codec
from shared.wire.envelope import Ack, SiteState

STATE = SiteState(online=True, boot="b1", at_ms=5)


@pytest.mark.parametrize("compress", [False, True])
def test_round_trip(compress: bool) -> None:
    assert codec.decode(codec.encode(STATE, compress=compress), SiteState) == STATE


@given(st.binary(max_size=300))
def test_noise_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        codec.decode(data, SiteState)


@given(st.data())
def test_a_cut_or_flipped_message_is_a_wire_error_or_says_what_it_says(data: st.DataObject) -> None:
    whole = codec.encode(STATE, compress=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WireError):
        codec.decode(whole[:cut], SiteState)


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = b"\x01" + zlib.compress(b"\x00" * (codec.MAX_BODY_BYTES + 10))
    assert len(bomb) < 10_000
    with pytest.raises(WireError, match="inflates to more"):
        codec.decode(bomb, SiteState)


def test_too_large_a_message_is_refused_at_the_sender() -> None:
    with pytest.raises(WireError, match="split it"):
        codec.encode(b"x" * (codec.MAX_BODY_BYTES + 1))


def test_another_message_is_not_mistaken_for_the_expected_one() -> None:
    with pytest.raises(WireError, match="does not decode as Ack"):
        codec.decode(codec.encode(STATE), Ack)


def test_an_unknown_format_byte_is_named() -> None:
    with pytest.raises(WireError, match="unknown format byte 7f"):
        codec.decode(b"\x7f" + msgspec.msgpack.encode(STATE), SiteState)
