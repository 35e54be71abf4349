"""A site of real processes: guardian, agent and simulator, which a test may kill, stop and starve.

Everything speaks real VNish HTTP, Modbus and SNMP on loopback. Times are those of the monotonic clock, which
all processes of a machine share; what is stopped is what the plant says, never a machine or the guardian.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.guardian.operators.client import ask
from edge_agent.guardian.storage.journal import SEGMENT_BYTES, Journal, segments
from shared.alarms import Event, EventKind, Severity
from shared.clock import SystemClock
from shared.errors import Unreachable, WireError
from shared.telemetry import MinerState
from support import processes_guardian, processes_simulator
from support.guardian import ZONE
from support.ports import free_port
from support.processes_disk import SmallDisk
from support.processes_simulator import Mark
from support.processes_site import MINERS, process_site

LOOK_S = 0.05
CHIP_LIMIT_C = 90.0
"""Where the emulated firmware itself would stop: reaching it means that the guardian was too late."""

CREDENTIALS = {"miners": "admin", "pdu": "private"}
"""What the emulated machines accept."""

Shape = Callable[[list[str]], list[str]]


def as_it_is(command: list[str]) -> list[str]:
    """A process is started without anything around it."""
    return command


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took from an event until a site (or the part that was asked about) was stopped, in s."""

    told_s: float
    """Until the last stop had reached its machine."""
    stopped_s: float
    """Until the last machine made no heat; the emulated firmware takes 4 s of it."""


class Undisturbed(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes where nothing else is wrong."""

    cooling: Moment
    """From the loss of cooling on."""
    stop: Moment
    """From an operator's emergency stop on."""

    SLACK_S: ClassVar[float] = 6.0
    """How much later the last stop may come with a fault: the CPU of a shared machine, a process's start."""

    def held(self, moment: Moment) -> bool:
        """Whether a loss of cooling was stopped as fast as on an undisturbed site."""
        return moment.stopped_s <= self.cooling.stopped_s + self.SLACK_S


class ProcessSite:
    """The processes of one site in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        miners: int = MINERS,
        timing: Mapping[str, float] | None = None,
        disk: SmallDisk | None = None,
    ) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self._control = free_port()
        self.site = process_site(folder, miners=miners, control_port=self._control, timing=timing)
        self.path = folder / "site.toml"
        self.state = Path(self.site.paths.guardian_state) if disk is None else disk.path
        self.miners = [str(entry.id) for entry in self.site.miners]
        self.around_guardian = as_it_is if disk is None else disk.around
        self._counter = 0
        self.clock_file = folder / "wall-clock-offset-ms"
        self.step_clock(0)
        self._log = (folder / "log.txt").open("ab")
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([root, str(Path(root) / "tests")])
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        self.simulator: subprocess.Popen[bytes] | None = None
        self.guardian: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None

    # ---------------------------------------------------------------- processes

    async def start(self, *, agent: bool = False) -> Self:
        """Start all, and wait until the zone runs in LOCAL_AUTO with nobody inhibited."""
        for name, secret in CREDENTIALS.items():
            await asyncio.to_thread(self.guardian_command, "credential", "set", name, stdin=f"{secret}\n")
        self.simulator = self._run([processes_simulator.__file__])
        await self.until(self._simulator_answers, what="the simulator answers")
        self.start_guardian()
        if agent:
            self.start_agent()
            await self.until(lambda: self.leased, what="the agent holds its lease")
        await self.ready()
        return self

    @property
    def leased(self) -> bool:
        """Whether an agent's lease has time left."""
        status = self.whole_status()
        return status is not None and bool(status.lease_left_s)

    async def ready(self) -> None:
        """The zone runs, and nothing stands against a raise anywhere."""
        await self.until_status(lambda s: s.mode is ipc.Mode.LOCAL_AUTO and not s.inhibited)

    def start_guardian(self) -> None:
        """Start it (again); returns at once."""
        command = [processes_guardian.__file__, str(self.clock_file), "run"]
        self.guardian = self._run(command, shape=self.around_guardian)

    def start_agent(self) -> None:
        """Start it (again); returns at once."""
        self.agent = self._run(["-m", "edge_agent.agent", "run"])

    def _run(self, words: list[str], *, shape: Shape = as_it_is) -> "subprocess.Popen[bytes]":
        command = shape([sys.executable, "-P", *words, "--site", str(self.path)])
        return subprocess.Popen(command, stdout=self._log, stderr=self._log, env=self.environment)

    def guardian_command(self, *words: str, stdin: str = "") -> tuple[int, str]:
        """One of the guardian's own commands; its exit code and what it said."""
        command = [sys.executable, "-P", "-m", "edge_agent.guardian", *words, "--site", str(self.path)]
        done = subprocess.run(
            self.around_guardian(command),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def next_counter(self) -> int:
        """The next counter of a signed order."""
        self._counter += 1
        return self._counter

    def kill_guardian(self) -> float:
        """kill -9; returns when, in s."""
        assert self.guardian is not None
        return self._kill(self.guardian)

    def kill_agent(self) -> float:
        """kill -9; returns when, in s."""
        assert self.agent is not None
        return self._kill(self.agent)

    def _kill(self, process: "subprocess.Popen[bytes]") -> float:
        at_s = self.clock.monotonic()
        process.kill()
        process.wait(10)
        return at_s

    def freeze_agent(self) -> float:
        """SIGSTOP; returns when, in s."""
        assert self.agent is not None
        self.agent.send_signal(signal.SIGSTOP)
        return self.clock.monotonic()

    def close(self) -> None:
        """End whatever still runs."""
        for process in (self.agent, self.guardian, self.simulator):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
        self._log.close()

    def memory_mb(self) -> float:
        """What the guardian keeps resident, MB."""
        assert self.guardian is not None
        status = Path(f"/proc/{self.guardian.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def step_clock(self, offset_ms: int) -> None:
        """Put the guardian's wall clock so far off, at once."""
        beside = self.clock_file.with_suffix(".new")
        beside.write_text(str(offset_ms))
        beside.replace(self.clock_file)

    # ---------------------------------------------------------------- the plant

    def _call(self, method: str, path: str, body: object = None, *, port: int = 0) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        url = f"http://127.0.0.1:{port or self._control}{path}"
        request = urllib.request.Request(url, method=method, data=data)
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def _simulator_answers(self) -> bool:
        assert self.simulator is not None
        assert self.simulator.poll() is None, f"the simulator ended:\n{self.log()}"
        with contextlib.suppress(OSError):
            self._call("GET", "/marks", port=self._control + 1)
            return True
        return False

    def inject(self, name: str, target: str, *, severity: float = 1.0) -> float:
        """Begin a fault of plant or equipment; returns when, in s."""
        at_s = self.clock.monotonic()
        self._call("POST", "/faults", {"name": name, "target": target, "severity": severity})
        return at_s

    def lose_cooling(self) -> float:
        """The exhaust wall coasts to a stop; returns when it began, in s."""
        return self.inject("exhaust_fan_stopped", ZONE)

    def repair(self) -> None:
        """No fault any more, every machine well-behaved, the stopwatch anew."""
        self._call("POST", "/clear", port=self._control + 1)

    def manners(self, targets: Iterable[str], **how: object) -> float:
        """How these machines behave from now on (`processes_simulator.Manners`); returns when, in s."""
        at_s = self.clock.monotonic()
        for target in targets:
            self._call("POST", "/machine", {"target": target, **how}, port=self._control + 1)
        return at_s

    def reboot(self, target: str) -> float:
        """Its control board restarts, and it mines again; returns when, in s."""
        at_s = self.clock.monotonic()
        self._call("POST", "/reboot", {"target": target}, port=self._control + 1)
        return at_s

    def watch_anew(self) -> None:
        """The stopwatch forgets what it saw."""
        self._call("POST", "/watch", port=self._control + 1)

    def longest_gaps(self, miners: Iterable[str]) -> float:
        """The longest time in s that any of these went unread since the stopwatch began."""
        names = set(miners)
        return max(mark.longest_gap_s for name, mark in self.marks().items() if name in names)

    async def until_all_polled(self, miners: Iterable[str], times: int) -> float:
        """Wait until each of these was read so often since the stopwatch began; the longest gap in s."""
        names = list(miners)
        await self.until(
            lambda: min(self.marks()[name].polls for name in names) >= times,
            what=f"{times} polls of each of {len(names)} miners",
        )
        return self.longest_gaps(names)

    def marks(self) -> dict[str, Mark]:
        """What the stopwatch saw."""
        body = self._call("GET", "/marks", port=self._control + 1)
        return msgspec.convert(body["miners"], dict[str, Mark])

    def truth(self) -> dict[str, Any]:
        """The plant itself."""
        answer: dict[str, Any] = self._call("GET", "/truth")
        return answer

    def presets(self) -> dict[str, str]:
        """The preset that each miner really runs."""
        return {name: miner["preset"] for name, miner in self.truth()["miners"].items()}

    def unharmed(self) -> bool:
        """No machine came to the limit at which its own firmware stops it."""
        truth = self.truth()
        return truth["protection_fired"] == 0 and truth["reported_chip_max_ever_c"] < CHIP_LIMIT_C

    async def until_stopped(
        self, since_s: float, *, miners: Iterable[str] | None = None, seconds: float = 30.0
    ) -> Moment:
        """Wait until these miners (all) make no heat; how long that took since `since_s`."""
        names = list(miners if miners is not None else self.miners)
        marks: dict[str, Mark] = {}

        def stopped() -> bool:
            nonlocal marks
            marks = {name: mark for name, mark in self.marks().items() if name in names}
            return all((mark.stopped_at_s or 0.0) >= since_s for mark in marks.values())

        await self.until(stopped, what=f"{len(names)} miners are stopped", seconds=seconds)
        return Moment(
            told_s=max(mark.stop_told_at_s or 0.0 for mark in marks.values()) - since_s,
            stopped_s=max(mark.stopped_at_s or 0.0 for mark in marks.values()) - since_s,
        )

    # ---------------------------------------------------------------- the guardian

    def ask(self, request: ipc.FromOperator) -> ipc.ToOperator:
        """One request at operator.sock. Raises `Unreachable` where nobody answers."""
        return ask(Path(self.site.paths.operator_socket), request)

    def whole_status(self) -> ipc.Status | None:
        """What the guardian says, None where it does not."""
        with contextlib.suppress(Unreachable, WireError):
            answer = self.ask(ipc.StatusRequest())
            assert isinstance(answer, ipc.Status)
            return answer
        return None

    def status(self) -> ipc.ZoneStatus | None:
        """The zone, None where the guardian does not answer."""
        status = self.whole_status()
        return None if status is None else status.zones[ZONE]

    async def until_status(
        self, holds: Callable[[ipc.ZoneStatus], bool], *, seconds: float = 45.0
    ) -> ipc.ZoneStatus:
        """Wait for a status of the zone."""
        seen: ipc.ZoneStatus | None = None

        def there() -> bool:
            nonlocal seen
            seen = self.status()
            return seen is not None and holds(seen)

        await self.until(there, what=lambda: f"a status; last {seen}", seconds=seconds)
        assert seen is not None
        return seen

    async def until(
        self, holds: Callable[[], bool], *, what: str | Callable[[], str], seconds: float = 45.0
    ) -> float:
        """Wait for a condition; returns when it was seen, in s. Fails the test with the processes' log."""
        try:
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(holds):
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            said = what if isinstance(what, str) else what()
            pytest.fail(f"not within {seconds:g} s: {said}\n{self.log()[-4000:]}")
        return self.clock.monotonic()

    def safe_stop(self) -> float:
        """The operator's emergency stop; returns when it was asked for, in s."""
        at_s = self.clock.monotonic()
        answer = self.ask(ipc.SafeStop(zone=None, reason="test"))
        assert isinstance(answer, ipc.Done), answer
        return at_s

    async def restore(self) -> None:
        """Repair everything, reset the trip and wait until the site runs as before."""
        self.repair()
        reset = ipc.ResetTrip(zone=ZONE, reason="repaired", operator="ada")
        await self.until(lambda: isinstance(self.ask(reset), ipc.Done), what="the trip can be reset")
        await self.ready()
        await self.until(self._all_mine, what="every miner mines again")
        self.repair()

    def _all_mine(self) -> bool:
        return all(m["state"] == MinerState.MINING for m in self.truth()["miners"].values())

    def journal(self) -> list[ipc.JournalEntry]:
        """What stands in the journal's files and decodes, in order."""
        lines = [
            line for path in segments(self.state / "journal") for line in path.read_bytes().split(b"\n")[:-1]
        ]
        return [msgspec.json.decode(line, type=ipc.JournalEntry) for line in lines]

    def log(self) -> str:
        """What the processes said so far."""
        self._log.flush()
        return (self.folder / "log.txt").read_text(errors="replace")


Open = Callable[..., ProcessSite]
"""Makes a site in a folder of its own, with the parameters of `ProcessSite`."""


def fill_journal(site: ProcessSite, entries: int, *, segment_bytes: int = SEGMENT_BYTES) -> None:
    """Put so many true entries of about 1 kB into the journal before its guardian starts."""
    journal = Journal(site.state / "journal", site.clock, "earlier", segment_bytes=segment_bytes)
    for number in range(1, entries + 1):
        title = f"entry {number} " + "x" * 600
        journal.append(
            Event(id="", kind=EventKind.SYSTEM, severity=Severity.LOW, key="test", at_ms=0, title=title)
        )
        if number % 10 == 0:
            journal.flush()
    journal.close()
