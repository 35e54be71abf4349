"""Asking every address of a network, a bounded number at a time and before a deadline."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from firmware_adapters.discovery import arp
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.logins import Logins
from firmware_adapters.discovery.machine import Machine, by_address, machine_of
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.report import Probed
from shared.clock import Clock

MOST_AT_ONCE = 300
"""Three sockets per address: below the usual limit of 1,024 open files."""


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan brought. `unknown` answered without being recognised; `unasked` fell to the deadline."""

    machines: tuple[Machine, ...]
    unknown: tuple[str, ...]
    asked: int
    unasked: int
    reasons: dict[str, int]
    """Of the addresses that did not answer: why, and how many."""
    refused: dict[str, int] = {}
    """Firmware → how many of its machines refused the password."""
    left_out: dict[str, int] = {}
    """Firmware → how many did not get it any more."""


class Scan:
    """One scan; `run` once."""

    def __init__(self, asker: Asker, look: Look, clock: Clock, *, port: int | None = None) -> None:
        self._asker = asker
        self._look = look
        self._logins = Logins(look.credential)
        self._clock = clock
        self._port = port
        self._found: list[Probed] = []
        self._unknown: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._asked = 0

    async def run(
        self,
        hosts: Sequence[str],
        *,
        at_once: int,
        deadline_s: float,
        on_progress: Callable[[int, int], None] = lambda _done, _found: None,
    ) -> Scanned:
        """Ask `hosts`, `at_once` of them at a time; stop after `deadline_s` with what is known by then."""
        waiting = iter(hosts)
        workers = [
            asyncio.create_task(self._work(waiting, on_progress)) for _ in range(min(at_once, len(hosts)))
        ]
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*workers)
        except TimeoutError:
            pass
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._result(len(hosts))

    async def _work(self, waiting: Iterator[str], on_progress: Callable[[int, int], None]) -> None:
        for host in waiting:
            found = await probe(self._asker, host, self._port, self._look, self._clock, self._logins)
            self._asked += 1
            if found.examined is not None or found.identified:
                self._found.append(found)
            elif found.answered:
                self._unknown.append(host)
            else:
                self._reasons[_reason(found)] += 1
            on_progress(self._asked, len(self._found))

    def _result(self, total: int) -> Scanned:
        known = arp.table() if self._found else {}
        machines: list[Machine] = []
        for found in self._found:
            machine = machine_of(found, known.get(found.host, ""))
            if machine is None:
                self._unknown.append(found.host)
            else:
                machines.append(machine)
        return Scanned(
            machines=tuple(sorted(machines, key=by_address)),
            unknown=tuple(sorted(self._unknown)),
            asked=self._asked,
            unasked=total - self._asked,
            reasons=dict(self._reasons.most_common()),
            refused=dict(self._logins.refused),
            left_out=dict(self._logins.left_out),
        )


def _reason(found: Probed) -> str:
    """The one reason of an address that said nothing: that it refused tells most, it is alive."""
    reasons = sorted(set(found.silent.values()))
    return next((reason for reason in reasons if "refused" in reason), reasons[0] if reasons else "not asked")


def same_macs(machines: tuple[Machine, ...]) -> list[str]:
    """A sentence for each MAC that several machines tell: a later scan would mistake one for the other."""
    places: dict[str, list[str]] = {}
    for machine in machines:
        if machine.mac:
            places.setdefault(machine.mac, []).append(machine.place)
    return [
        f"{', '.join(told)} all tell the MAC {mac}: one machine with several addresses, or cloned firmware"
        for mac, told in places.items()
        if len(told) > 1
    ]


def nothing_found(scanned: Scanned, asked: str) -> str:
    """The sentence for a network without a miner that we know."""
    why = "; ".join(f"{count} × {reason}" for reason, count in list(scanned.reasons.items())[:3])
    counted = f"{scanned.asked} addresses asked" + (f" ({why})" if why else "")
    if scanned.unknown:
        return f"no miner that we know in {asked}: {counted}, {len(scanned.unknown)} answer as something else"
    alive = any("refused" in reason for reason in scanned.reasons)
    advice = (
        "computers are there, but no miner answers: is the port right?"
        if alive
        else "is this computer in that network, and do the machines have power?"
    )
    return f"nothing answers in {asked}: {counted}; {advice}"
