"""A recorded Avalon Q, switched off at the time: every number in it that has a meaning here."""

from firmware_adapters.miners.avalon import parse
from firmware_adapters.miners.avalon.adapter import AvalonAdapter
from firmware_adapters.transport.line_json import MemoryLine, decode
from firmware_adapters.transport.raw import MemoryRaw
from shared.capabilities import Ability
from shared.details import Board, Pool, PoolState
from shared.telemetry import MinerState, Quality
from shared.units import Algorithm
from support.recordings import recorded_line

FOLDER = "avalon/v1"


def adapter() -> tuple[AvalonAdapter, MemoryLine]:
    async def nothing(_: bytes) -> bytes:
        raise AssertionError("reading writes nothing")

    line = recorded_line(FOLDER)
    return AvalonAdapter(line, MemoryRaw(nothing), timeout_s=5), line


async def test_the_sample() -> None:
    device, line = adapter()
    seen = await device.read()
    assert {point: found.value for point, found in seen.readings.items()} == {
        "hashrate_ths": 0.0,
        "hashrate_nominal_ths": 55.03279,
        "power_w": 146.0,
        "power_limit_w": 800.0,
        "preset_w": 800.0,
        "chip_temp_max_c": None,
        "chip_temp_min_c": None,
        "board_temp_max_c": 27.0,
        "board_temp_min_c": 27.0,
        "air_temp_c": 26.0,
        "fan_rpm.0": 0.0,
        "fan_rpm.1": 0.0,
        "fan_rpm.2": 0.0,
        "fan_rpm.3": 0.0,
        "fan_duty_pct": 0.0,
        "uptime_s": 37_850.0,
        "shares_accepted": 890.0,
        "shares_rejected": 2.0,
        "shares_stale": 0.0,
        "hw_errors": 0.0,
        "boards_working": 1.0,
    }
    assert seen.readings["power_w"].quality is Quality.ESTIMATED
    assert seen.readings["chip_temp_max_c"].quality is Quality.MISSING, "TMax[0] is no frost"
    assert seen.state is MinerState.STOPPED
    assert seen.preset == "eco"
    assert seen.algorithm is Algorithm.SHA256D
    assert seen.faults == ()
    assert line.asked == ["version", "estats", "stats", "summary", "pools"]
    await device.read()
    assert line.asked[5:] == ["stats", "summary"], "what is unknown here is not asked again"


async def test_the_board_and_its_chips() -> None:
    device, _ = adapter()
    assert await device.boards() == (
        Board(
            index=0,
            working=True,
            hashrate_ths=0.0,
            hashrate_nominal_ths=55.03279,
            board_temp_max_c=27.0,
            board_temp_min_c=27.0,
            voltage_v=0.04,
        ),
    ), "MGHS[44499.41] and Freq[282.86] are of an earlier time, as are the chips"
    chips = await device.chips()
    assert [(chip.board, chip.index) for chip in chips] == [(0, index) for index in range(160)]
    assert {chip.temp_c for chip in chips} == {None}, "57 to 71 °C beside boards at 27 are of an earlier time"


async def test_the_chips_as_they_were_while_it_worked() -> None:
    """The same reply with a hottest chip in it, as a machine prints it that works."""
    line = recorded_line(FOLDER)
    told = line.replies["stats"].replace(b"TMax[0]", b"TMax[71]")
    seen = parse.stats(decode(told))
    (module,) = seen.modules
    (heats,) = parse.chip_values(module, "PVT_T")
    assert (len(heats), min(heats), max(heats), heats[0], heats[-1]) == (160, 57, 71, 58, 60)
    (volts,) = parse.chip_values(module, "PVT_V")
    assert (len(volts), min(volts), max(volts), volts[0], volts[-1]) == (160, 265, 283, 282, 281)
    readings = parse.module_readings(seen)
    assert (readings["chip_temp_min_c"].value, readings["chip_temp_max_c"].value) == (57.0, 71.0)


async def test_the_pool() -> None:
    device, _ = adapter()
    assert await device.pools() == (
        Pool(
            index=0,
            url="stratum+tcp://pool.example.com:4444",
            user="worker1",
            state=PoolState.ACTIVE,
            accepted=890.0,
            rejected=2.0,
            stale=0.0,
        ),
    )


async def test_who_it_is_and_what_it_can_run() -> None:
    device, _ = adapter()
    facts = await device.facts()
    assert (facts.model, facts.firmware) == ("Avalon Q", "25052801_14a19a2")
    assert (facts.mac, facts.serial) == ("aa:bb:cc:dd:ee:ff", "01234567890123456789012345678901")
    assert [rung.name for rung in facts.presets] == ["eco", "standard", "super"]
    assert Ability.PRESET in {found.ability for found in facts.capabilities}


async def test_any_bracket_may_be_missing_and_costs_only_itself() -> None:
    line = recorded_line(FOLDER)
    text = decode(line.replies["stats"])["STATS"][0]["MM ID0:Summary"]  # type: ignore[index] # its known shape
    whole = parse.stats({"STATS": [{"MM ID0:Summary": text}]})
    readings = parse.module_readings(whole)
    (module,) = whole.modules
    for name in module.said:
        said = {key: value for key, value in module.said.items() if key != name}
        less = parse.Stats(modules=(parse.Module(name="0", said=said),))
        found = parse.module_readings(less)
        changed = {point for point in readings if found.get(point) != readings[point]}
        # Without its fans nothing is left to have a duty.
        assert len(changed) <= 1, (name, changed)
