"""The ring of samples: nothing between two numbers is ever missing, and its limits are about real memory."""

import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guardian.polling.ring import Ring
from shared.telemetry import DeviceKind, Reading, Sample
from support.guardian import miner_id


def sample(seq: int, *, at_s: float = 0.0, **fields: object) -> Sample:
    base = {"device": miner_id(1), "kind": DeviceKind.MINER, "at_ms": 0, "boot": "b", **fields}
    return Sample(at_s=at_s, seq=seq, **base)


def filled(count: int, **limits: object) -> Ring:
    """A ring with so many samples, one a second."""
    ring = Ring(**limits)
    for seq in range(1, count + 1):
        ring.append(sample(seq, at_s=float(seq)))
    return ring


def everything(ring: Ring, seq: int, limit: int) -> list[int]:
    """What an agent gets that asks until nothing comes."""
    found: list[int] = []
    while some := ring.after(seq, limit):
        assert len(some) <= limit
        found += [kept.seq for kept in some]
        seq = found[-1]
    return found


def test_resumes_after_any_number() -> None:
    ring = filled(10)
    assert [kept.seq for kept in ring.after(7, 100)] == [8, 9, 10]
    assert [kept.seq for kept in ring.after(0, 3)] == [1, 2, 3]
    assert ring.after(10, 5) == ()
    assert Ring().after(0, 5) == ()


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 90), seq=st.integers(0, 100), limit=st.integers(1, 30), chunk=st.integers(1, 16))
def test_an_agent_gets_every_sample_once_and_in_order(count: int, seq: int, limit: int, chunk: int) -> None:
    assert everything(filled(count, chunk=chunk), seq, limit) == list(range(seq + 1, count + 1))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 90), chunk=st.integers(1, 16), first=st.integers(0, 99), length=st.integers(0, 99)
)
def test_a_window_holds_what_was_taken_in_it(count: int, chunk: int, first: int, length: int) -> None:
    seen = filled(count, chunk=chunk).between(float(first), float(first + length))
    assert [kept.seq for kept in seen] == [n for n in range(1, count + 1) if first <= n <= first + length]


def test_a_window_is_settled_when_it_is_asked_for() -> None:
    """It is unpacked in another thread, while samples go on coming and going."""
    ring = filled(40, chunk=8, keep_s=30.0)
    window = ring.between(12.0, 99.0)
    for seq in range(41, 200):
        ring.append(sample(seq, at_s=float(seq)))
    assert [kept.seq for kept in window] == list(range(12, 41))


def test_a_sample_comes_out_as_it_went_in() -> None:
    ring = Ring(chunk=1)
    taken = [sample(n, at_s=5.0, preset="2500", readings={"power_w": Reading(2790.0 + n)}) for n in (1, 2, 3)]
    for one in taken:
        ring.append(one)
    kept = list(ring.between(5.0, 5.0))
    assert [msgspec.msgpack.decode(one.packed, type=Sample) for one in kept] == taken
    assert (kept[0].device, kept[0].at_s, kept[0].seq) == (taken[0].device, 5.0, 1)


def test_the_oldest_go_by_age_but_never_too_early() -> None:
    ring = filled(399, keep_s=120.0, chunk=16)
    assert 399 - 120 - 16 <= ring.after(0, 1)[0].seq <= 399 - 120


def test_the_oldest_go_by_bytes() -> None:
    ring = filled(2000, keep_bytes=8_000, chunk=8)
    assert ring.size <= 8_000
    left = everything(ring, 0, 100)
    assert left[-1] == 2000
    assert left == list(range(left[0], 2001))
    assert 1 < left[0] < 1990


def test_numbers_have_no_holes() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        Ring().append(sample(2))


def test_it_says_what_it_really_holds() -> None:
    """The limit of 32 MB is about memory: the bytes that the ring counts are those that it takes."""
    readings = {f"fan_rpm.{number}": Reading(5880.0 + number) for number in range(12)}
    ring = Ring(keep_s=1e9, chunk=500)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for seq in range(1, 2001):
        ring.append(sample(seq, at_s=seq / 7, readings=readings))
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.85 * ring.size < took < 1.15 * ring.size
