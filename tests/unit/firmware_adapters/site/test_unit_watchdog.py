"""The emulated time-out against a small model: fallen exactly when armed, started and starved too long."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.site.modbus_unit import ModbusUnit
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from shared.clock import ManualClock

FC102 = load_profile("danfoss-fc102")
POINT = "speed_setpoint_pct"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("time"), st.integers(1, 30)),
        st.tuples(st.sampled_from(["feed", "stop", "read", "arm", "disarm"]), st.just(0)),
    ),
    max_size=30,
)


class Model:
    """What the drive should do, in as few words as possible."""

    def __init__(self) -> None:
        self.armed = False
        self.timeout_s = 1.0
        self.starved_s: float | None = None
        self.fallen = False

    def look(self) -> None:
        if self.armed and self.starved_s is not None and self.starved_s > self.timeout_s:
            self.fallen = True

    def take(self, what: str, number: int) -> None:
        if what == "wait":
            self.starved_s = None if self.starved_s is None else self.starved_s + number
        self.look()  # time passed, or a request made the drive look at its clock
        match what:
            case "time":
                self.timeout_s = float(number)
            case "feed":
                self.starved_s, self.fallen = 0.0, False
            case "arm" | "disarm":
                self.armed = what == "arm"
        if what in ("time", "disarm") and not self.armed:
            self.starved_s, self.fallen = None, False


REQUESTS = {
    "feed": "06c34f047c",
    "stop": "06c34f043c",  # another control word is no keep-alive of ours
    "read": "03c3590001",
    "arm": "061f670004",
    "disarm": "061f670000",
}


@given(steps=STEPS)
def test_it_falls_exactly_when_it_should(steps: list[tuple[str, int]]) -> None:
    clock, source, model = ManualClock(), DictSource({POINT: 40.0}), Model()
    unit = ModbusUnit(FC102, source, clock=clock)
    assert unit.watchdog is not None
    for what, number in steps:
        model.take(what, number)
        if what == "wait":
            clock.advance(number)
            unit.watchdog.tick()
        elif what == "time":
            unit.answer(bytes.fromhex("101f5d000204") + (number * 10).to_bytes(4, "big"))
        else:
            unit.answer(bytes.fromhex(REQUESTS[what]))
        assert source.fallen == ({POINT: 100.0} if model.fallen else {}), (what, number)
