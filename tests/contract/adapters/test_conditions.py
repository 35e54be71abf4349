"""What happens to every device some day: one test per condition, run over all adapters and flavours.

`pytest -v` shows the matrix. Where a protocol has no such thing, its subject says why, and the test is
skipped with these words.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from firmware_adapters.capabilities import HistoryReader, Observation
from shared.capabilities import Ability
from shared.clock import SystemClock
from shared.counters import has_restarted
from shared.errors import AuthFailed, DeviceError
from shared.telemetry import MinerState
from support.adapter_conditions import Never
from support.adapter_contract import Subject

pytestmark = pytest.mark.filterwarnings("error")

TEN_YEARS_S = 10 * 365.25 * 86_400
DAY_S = 86_400.0
T = TypeVar("T")


def there(condition: T | Never) -> T:
    """The condition, or a skip with the reason why this device never meets it."""
    if isinstance(condition, Never):
        assert len(condition.reason) >= 20, "say why"
        pytest.skip(condition.reason)
    return condition


def as_the_device_knows(seen: Observation, subject: Subject) -> None:
    """Each point of the truth was read as it is now."""
    told = {name: seen.readings[name].value for name in subject.truth()}
    assert told == pytest.approx(subject.truth(), nan_ok=True)


async def outcome(doing: Awaitable[object]) -> DeviceError | None:
    """How it failed, None where it did not; what is no `DeviceError` is raised."""
    try:
        await doing
    except DeviceError as error:
        failure = error
    else:
        return None
    assert failure.code not in ("error", "device"), "typed"
    return failure


async def read_all(subject: Subject) -> Observation:
    seen = await subject.adapter.read()
    as_the_device_knows(seen, subject)
    return seen


def counted(how_many: Callable[[], int]) -> Callable[[], int]:
    """How many more there are than now."""
    before = how_many()
    return lambda: how_many() - before


async def test_slow_replies_in_pieces_are_waited_for(subject: Subject) -> None:
    slow = there(subject.conditions.slow)
    slow.begin()
    await read_all(subject)
    assert (await subject.adapter.facts()).capabilities or not subject.writes
    for name, write in list(subject.writes.items())[:1]:
        await write.do()
        assert write.done(), name
    await subject.adapter.read()


async def test_a_login_lost_in_mid_run_is_made_again_once(subject: Subject) -> None:
    """A 401 where there was none: session, token, nonce, agreed clock or connection are gone."""
    lost = there(subject.conditions.lost_login)
    await read_all(subject)
    for _ in range(2):
        logins = counted(lost.logins)
        lost.begin()
        await read_all(subject)
        assert logins() <= lost.most
        assert lost.by_write or logins() > 0, "a loss that nobody notices tests nothing"
    for name, write in list(subject.writes.items())[:1]:
        await write.do()
        logins = counted(lost.logins)
        lost.begin()
        failure = await outcome(write.do())
        assert (failure is not None) == lost.write_fails_once, name
        if failure is not None:
            await write.do()
        assert write.done(), name
        assert 0 < logins() <= lost.most


async def test_a_secret_that_is_good_no_more_locks_nobody_out(subject: Subject) -> None:
    lost = there(subject.conditions.lost_login)
    refuse = there(lost.refuse)
    await subject.adapter.read()
    refuse()
    lost.begin()
    logins, before = counted(lost.logins), list(subject.commands())
    for _ in range(4):
        failure = await outcome(subject.adapter.read())
        assert failure is None or isinstance(failure, AuthFailed)
        assert failure is not None or lost.by_write, "a read without a login tells nothing"
        for write in list(subject.writes.values())[:2]:
            assert isinstance(await outcome(write.do()), AuthFailed)
    assert subject.commands() == before
    assert 0 < logins() <= lost.most_refused


async def test_an_overloaded_device_is_asked_no_more_than_usual(subject: Subject) -> None:
    """429 over HTTP, "busy" on a field bus, a socket that closes at once."""
    overload = there(subject.conditions.overload)
    requests = counted(overload.requests)
    await subject.adapter.read()
    most = overload.most or requests()
    assert most > 0
    overload.begin()
    for _ in range(3):
        requests = counted(overload.requests)
        assert await outcome(subject.adapter.read()) is not None
        assert requests() <= most
    before = list(subject.commands())
    for name, write in ({} if overload.reads_only else subject.writes).items():
        requests = counted(overload.requests)
        failure = await outcome(write.do())
        assert failure is not None or overload.silent_writes, name
        assert requests() <= most, name
    assert subject.commands() == before
    subject.heal()
    await read_all(subject)


async def test_a_write_that_does_not_fit_the_state_is_refused_once_and_changes_nothing(
    subject: Subject,
) -> None:
    """A 500 or 409 over HTTP, a refusal by code elsewhere."""
    conflict = there(subject.conditions.conflict)
    await subject.adapter.read()
    conflict.begin()
    before, told = conflict.changed(), counted(conflict.told)
    with pytest.raises(conflict.error) as caught:
        await conflict.do()
    assert type(caught.value) is conflict.error
    assert 1 <= told() <= conflict.most
    assert conflict.changed() == before
    subject.heal()
    assert (await subject.adapter.read()).readings


async def test_a_reboot_in_the_middle_of_a_reply_leaves_nothing_behind(subject: Subject) -> None:
    """Gone in mid-reply, away, back with its counters at zero and its logins forgotten."""
    reboot = there(subject.conditions.reboot)
    before = await read_all(subject)
    reboot.cut()
    assert await outcome(subject.adapter.read()) is not None
    reboot.away()
    assert await outcome(subject.adapter.read()) is not None
    subject.heal()
    reboot.back()
    seen = await read_all(subject)
    assert seen.state in (None, MinerState.MINING)
    uptimes = [told.readings.get("uptime_s") for told in (before, seen)]
    values = [None if found is None else found.value for found in uptimes]
    assert has_restarted(values[0], values[1], 0.0) == reboot.tells_uptime
    for name, write in list(subject.writes.items())[:1]:
        await write.do()
        assert write.done(), name


@pytest.mark.parametrize("year", ["ten years ahead", "1970"])
async def test_a_device_whose_clock_is_wrong_is_read_and_told_as_ever(subject: Subject, year: str) -> None:
    skew = there(subject.conditions.skew)
    skew.begin(TEN_YEARS_S if year == "ten years ahead" else DAY_S - SystemClock().utc_ms() / 1000)
    await read_all(subject)
    adapter = subject.adapter
    declared = {found.ability for found in (await adapter.facts()).capabilities}
    if isinstance(adapter, HistoryReader) and Ability.HISTORY in declared:
        # Its records are the only times of a device that are kept, as times of the device's clock.
        assert (await adapter.history(3600.0, 900.0)).points
    for name, write in subject.writes.items():
        # Some carry a time, and mean the device's.
        await write.do()
        assert write.done(), name
    await adapter.read()
