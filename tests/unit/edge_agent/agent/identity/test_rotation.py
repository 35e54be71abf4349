"""Renewal on the gateway: asked for in time, tried before the old pair goes, and whole after any kill."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.identity.authority import Authority
from edge_agent.agent.identity import files as files_module
from edge_agent.agent.identity.files import CA, NEXT_KEY, NEXT_PAIR, IdentityFiles
from edge_agent.agent.identity.pair import Pair, read_certificate
from edge_agent.agent.identity.rotation import REFUSED_S, RESEND_S, Rotation
from edge_agent.agent.identity.trial import Trial
from shared.alarms import Event
from shared.clock import ManualClock
from shared.identity import is_proven, read_request
from shared.ids import SiteId
from shared.wire.envelope import Certificate, CertificateRequest
from support.identity import DAY_MS, pair_for

SITE = SiteId("north")
NOW_MS = 1_780_000_000_000
AUTHORITY = Authority.create("Test CA", NOW_MS - DAY_MS)
OTHER = Authority.create("Somebody else", NOW_MS - DAY_MS)


class Bench:
    """One gateway's rotation with a cloud and a broker that do as they are told."""

    def __init__(self, folder: Path, *, install: bool = True) -> None:
        self.clock = ManualClock(utc_ms=NOW_MS)
        self.files = IdentityFiles(folder)
        self.asked: list[CertificateRequest] = []
        self.connected = True
        self.word = Trial.TAKEN
        self.tried: list[Path] = []
        self.told: list[Event] = []
        self.rotation = Rotation(
            self.clock, SITE, self.files, ask=self._ask, try_pair=self._try, tell=self._tell
        )
        if install:
            self.files.adopt(pair_for(AUTHORITY, SITE, NOW_MS), AUTHORITY.pem)

    def _ask(self, request: CertificateRequest) -> bool:
        if self.connected:
            self.asked.append(request)
        return self.connected

    async def _try(self, path: Path) -> tuple[Trial, str]:
        self.tried.append(path)
        return self.word, f"it is {self.word}"

    async def _tell(self, event: Event) -> None:
        self.told.append(event)

    @property
    def pair(self) -> Pair:
        found = self.files.pair()
        assert found is not None
        return found

    def days(self, days: float) -> None:
        self.clock.advance(days * 86_400)

    async def answer(self, authority: Authority = AUTHORITY, **changes: str) -> None:
        """The cloud's answer to the newest request."""
        name, key = read_request(self.asked[-1].request_pem)
        made = authority.issue(name, key, self.clock.utc_ms(), days=90)
        body = {"certificate_pem": made.pem, "ca_pem": authority.pem, **changes}
        await self.rotation.take(Certificate(**body))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_nothing_is_asked_while_more_than_a_third_is_left(bench: Bench) -> None:
    bench.days(59)
    await bench.rotation.step()
    assert bench.asked == []
    bench.days(2)
    await bench.rotation.step()
    assert len(bench.asked) == 1


async def test_the_request_is_for_this_site_with_a_new_key_and_the_present_keys_word(bench: Bench) -> None:
    bench.days(61)
    await bench.rotation.step()
    request = bench.asked[0]
    name, key = read_request(request.request_pem)
    assert name == SITE
    assert key.public_numbers() != bench.pair.key.public_key().public_numbers()
    assert is_proven(request.request_pem, request.proof, bench.pair.key.public_key())


async def test_the_new_pair_is_tried_before_it_takes_over(bench: Bench) -> None:
    bench.days(61)
    await bench.rotation.step()
    old = bench.pair.serial
    await bench.answer()
    await bench.rotation.step()
    assert bench.tried == [bench.files.folder / NEXT_PAIR]
    assert bench.pair.serial != old
    assert sorted(path.name for path in bench.files.folder.iterdir()) == ["ca.pem", "site.pem"]
    assert bench.files.pair_file.stat().st_mode & 0o777 == 0o600
    await bench.rotation.step()
    assert len(bench.asked) == 1


async def test_without_a_connection_it_asks_when_there_is_one_and_not_too_often(bench: Bench) -> None:
    bench.connected = False
    bench.days(61)
    await bench.rotation.step()
    bench.connected = True
    await bench.rotation.step()
    await bench.rotation.step()
    assert len(bench.asked) == 1
    bench.clock.advance(RESEND_S)
    await bench.rotation.step()
    first, second = (read_request(request.request_pem)[1].public_numbers() for request in bench.asked)
    assert first == second, "one key until it is certified, so the cloud can repeat its answer"


async def test_what_the_broker_does_not_take_changes_nothing(bench: Bench) -> None:
    bench.days(61)
    await bench.rotation.step()
    old = bench.pair.serial
    await bench.answer()
    bench.word = Trial.UNKNOWN
    await bench.rotation.step()
    assert (bench.pair.serial, "the old certificate stays" in bench.rotation.trouble) == (old, True)
    bench.word = Trial.REFUSED
    await bench.rotation.step()
    assert bench.pair.serial == old
    await bench.rotation.step()
    assert (len(bench.tried), len(bench.asked)) == (2, 1)
    bench.clock.advance(REFUSED_S)
    await bench.rotation.step()
    assert len(bench.asked) == 2
    await bench.answer()
    bench.word = Trial.TAKEN
    await bench.rotation.step()
    assert (bench.pair.serial != old, bench.rotation.trouble) == (True, "")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda bench: bench.answer(OTHER), "not signed by the authority"),
        (lambda bench: bench.answer(certificate_pem=_for(AUTHORITY, "south")), "is for 'south'"),
        (lambda bench: bench.answer(certificate_pem=_for(AUTHORITY, SITE)), "belongs to another key"),
        (lambda bench: bench.answer(certificate_pem="nonsense"), "not a certificate"),
    ],
    ids=["authority", "name", "key", "nonsense"],
)
async def test_a_certificate_that_a_broker_could_have_made_up_is_refused(
    bench: Bench, spoil: Callable[[Bench], Any], why: str
) -> None:
    """Who is trusted never changes over the wire: `ca_pem` of a renewal is not believed."""
    bench.days(61)
    await bench.rotation.step()
    old = bench.pair.serial
    await spoil(bench)
    await bench.rotation.step()
    assert (bench.pair.serial, bench.files.text(CA)) == (old, AUTHORITY.pem)
    assert why in bench.rotation.trouble
    assert bench.tried == []


def _for(authority: Authority, name: str) -> str:
    return pair_for(authority, name, NOW_MS).pem().decode().split("-----BEGIN PRIVATE")[0]


async def test_an_answer_that_nobody_waits_for_is_left(bench: Bench) -> None:
    old = bench.pair.serial
    await bench.rotation.take(Certificate(certificate_pem=_for(AUTHORITY, SITE), ca_pem=AUTHORITY.pem))
    await bench.rotation.step()
    assert (bench.pair.serial, bench.rotation.trouble) == (old, "")


async def test_a_person_hears_of_an_end_that_comes_near_and_of_its_renewal(bench: Bench) -> None:
    bench.connected = False
    bench.days(74)
    await bench.rotation.step()
    assert bench.told == []
    bench.days(2)
    await bench.rotation.step()
    await bench.rotation.step()
    assert [event.kind for event in bench.told] == ["alarm"]
    assert "minewarden enroll" in bench.told[0].advice
    bench.connected = True
    await bench.rotation.step()
    await bench.answer()
    await bench.rotation.step()
    assert [event.kind for event in bench.told] == ["alarm", "alarm-cleared"]


async def test_a_gateway_without_or_with_a_damaged_certificate_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, install=False)
    await bench.rotation.step()
    assert "run 'minewarden enroll'" in bench.rotation.trouble
    bench.files.write("site.pem", b"half a ")
    await bench.rotation.step()
    assert str(bench.files.pair_file) in bench.rotation.trouble


async def test_it_runs_wakes_for_an_answer_and_ends(bench: Bench) -> None:
    bench.days(61)
    running = asyncio.create_task(bench.rotation.run())
    while not bench.asked:
        await asyncio.sleep(0)
    old = bench.pair.serial
    await bench.answer()
    while bench.pair.serial == old:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _whole(folder: Path) -> None:
    """One renewal from wherever the files are, as a process that starts anew would do it."""
    bench = Bench(folder, install=False)
    bench.days(61)
    bench.clock.advance(0)
    for _ in range(3):
        await bench.rotation.step()
        if bench.asked and bench.files.key(NEXT_KEY) is not None and bench.files.pair(NEXT_PAIR) is None:
            await bench.answer()


def _killed_at(folder: Path, step: int) -> bool:
    """Renew in a child that is killed before its `step`-th touch of a file; whether it got that far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def dying(real: Callable[..., Any]) -> Callable[..., Any]:
            def touch(*args: Any, **more: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **more)

            return touch

        for name in ("open", "fsync"):
            setattr(files_module.os, name, dying(getattr(os, name)))
        for name in ("replace", "unlink"):
            setattr(Path, name, dying(getattr(Path, name)))
        asyncio.run(_whole(folder))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_touch_of_a_file_leaves_one_valid_pair_and_the_next_life_ends_renewed(
    tmp_path: Path,
) -> None:
    """Every open, sync, rename and unlink of a renewal, one after the other."""
    step, kills = 1, 0
    while True:
        folder = tmp_path / str(step)
        folder.mkdir()
        first = Bench(folder).pair.serial
        killed = _killed_at(folder, step)
        pair = IdentityFiles(folder).pair()
        assert pair is not None
        pair.check(SITE, AUTHORITY.pem, NOW_MS + 61 * DAY_MS)
        if not killed:
            break
        kills, step = kills + 1, step + 1
        asyncio.run(_whole(folder))
        after = IdentityFiles(folder)
        renewed = after.pair()
        assert renewed is not None
        renewed.check(SITE, AUTHORITY.pem, NOW_MS + 61 * DAY_MS)
        assert renewed.serial != first, f"killed at touch {step - 1}"
        left = {path.name for path in after.folder.iterdir()}
        assert (
            {"ca.pem", "site.pem"}
            <= left
            <= {"ca.pem", "site.pem", ".next.key.new", ".next.pem.new", ".site.pem.new"}
        )
    assert kills >= 15


def test_a_pair_shows_no_key() -> None:
    pair = pair_for(AUTHORITY, SITE, NOW_MS)
    assert "*****" in repr(pair)
    assert read_certificate(pair.pem().decode()).serial_number == pair.certificate.serial_number
