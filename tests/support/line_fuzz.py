"""A read of a machine whose replies arrive damaged: readings that can be true, or a typed failure."""

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from firmware_adapters.capabilities import Telemetry
from shared.errors import DeviceError
from shared.telemetry import metric_of
from support.line_memory import Answers


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one reply, by places in thousandths of it."""

    cut: int
    at: int
    put: bytes

    def done_to(self, said: bytes) -> bytes:
        """The reply as it arrives."""
        place = len(said) * self.at // 1000
        said = said[:place] + self.put + said[place + len(self.put) :]
        return said[: len(said) * self.cut // 1000 + 1]


DAMAGES = st.builds(
    Damage,
    cut=st.just(1000) | st.integers(0, 1000),
    at=st.integers(0, 1000),
    put=st.binary(max_size=4) | st.sampled_from([b"-", b"}", b"[", b'"', b"9e99", b"null", b"\x00\x00"]),
)


class Damaged:
    """An emulator whose replies are damaged, each in its own way, over and over."""

    def __init__(self, emulator: Answers, damages: list[Damage]) -> None:
        self._emulator = emulator
        self._damages = damages
        self._answered = 0

    def answer(self, raw: bytes) -> bytes:
        """The damaged reply."""
        damage = self._damages[self._answered % len(self._damages)]
        self._answered += 1
        return damage.done_to(self._emulator.answer(raw))


async def read_is_sound(device: Telemetry, *more: Callable[[], object]) -> None:
    """One read, the facts, and `more`: each gives what can be true or raises from the `DeviceError` tree."""
    try:
        seen = await device.read()
    except DeviceError:
        pass
    else:
        for point, reading in seen.readings.items():
            metric = metric_of(point)
            assert (reading.value is not None) == reading.quality.usable, point
            assert reading.value is None or metric.low <= reading.value <= metric.high, point
    for ask in (device.facts, *more):
        try:
            await ask()  # type: ignore[misc] # all of them are coroutine functions
        except DeviceError:
            continue
