"""Model slots: any crash leaves the old set or the new one, never a mixture and never none."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent.inference.slots import SlotMap, Slots
from shared.artifacts.signing import Signed
from shared.errors import ArtifactError

SIGNED = Signed(payload=b"assignment", signatures=())
A, B, C = "a" * 64, "b" * 64, "c" * 64


class Crash(BaseException):
    """The power is gone."""


def filled(folder: Path) -> Slots:
    slots = Slots(folder)
    for sha256, data in ((A, b"model a"), (B, b"model b"), (C, b"model c")):
        slots.put(data, sha256, SIGNED)
        slots.arriving = sha256
        slots.set(SlotMap(active=A, previous=B, candidate=C if sha256 == C else None))
        slots.put(b"model b", B, SIGNED)
    slots.put(b"model a", A, SIGNED)
    slots.put(b"model b", B, SIGNED)
    slots.arriving = None
    return slots


def test_an_empty_gateway_has_no_models(tmp_path: Path) -> None:
    assert Slots(tmp_path).current() == SlotMap()


def test_a_swap_moves_all_slots_at_once_and_clears_what_is_in_none(tmp_path: Path) -> None:
    slots = filled(tmp_path)
    slots.set(SlotMap(active=C, previous=A))
    again = Slots(tmp_path)
    assert again.current() == SlotMap(active=C, previous=A)
    assert again.load(C).data == b"model c"
    assert again.load(A).signed == SIGNED
    with pytest.raises(ArtifactError):
        again.load(B)
    assert (tmp_path / "slots" / "active" / "model.onnx").read_bytes() == b"model c", "links lead to files"
    assert len(list(tmp_path.glob("slots.*"))) == 1


def test_a_blob_under_test_is_not_cleared_away(tmp_path: Path) -> None:
    slots = filled(tmp_path)
    slots.arriving = "d" * 64
    slots.put(b"model d", "d" * 64, SIGNED)
    slots.set(SlotMap(active=A))
    assert slots.load("d" * 64).data == b"model d"


_CALLS = (
    (Path, "mkdir"),
    (Path, "symlink_to"),
    (Path, "replace"),
    (Path, "unlink"),
    (os, "fsync"),
    (shutil, "rmtree"),
)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("crash_at", range(1, 16))
def test_a_crash_at_any_call_leaves_the_old_or_the_new_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int, after: bool
) -> None:
    slots = filled(tmp_path)
    old, new = slots.current(), SlotMap(active=C, previous=A)
    count = 0

    def wrap(original: Any) -> Any:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == crash_at and not after:
                raise Crash
            result = original(*args, **kwargs)
            if count == crash_at:
                raise Crash
            return result

        return guarded

    with monkeypatch.context() as patched:
        for owner, name in _CALLS:
            patched.setattr(owner, name, wrap(getattr(owner, name)))
        with contextlib.suppress(Crash):
            slots.set(new)
    again = Slots(tmp_path)
    found = again.current()
    assert found in (old, new)
    for sha256 in (found.active, found.candidate, found.previous):
        if sha256 is not None:
            assert again.load(sha256).data
    again.set(new)
    assert again.current() == new, "and the next swap goes through"
