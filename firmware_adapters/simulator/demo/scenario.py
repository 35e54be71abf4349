"""What happens on the demo's site, in order, and how each stage is proven from outside.

Nothing here decides for the product: the scenario breaks things, does what a person would do (start a
training, assign a model, repair a fan wall, reset a trip) and watches.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from firmware_adapters.simulator.demo.files import HOT_ZONE, SITE, miner_ids
from firmware_adapters.simulator.demo.layout import Layout
from firmware_adapters.simulator.demo.stages import Board
from firmware_adapters.simulator.demo.wan import Wan
from firmware_adapters.simulator.demo.watch import Json, Watch
from shared.clock import Clock
from shared.errors import MinewardenError

WORN = "m-07"
"""The miner whose fan wears out."""
WALL = "wall-a"
WAN_CUT_S = 30.0
FIRST_TRAINING_S = 60.0
FIRMWARE_LIMIT_C = 90.0
_POLL_S = 0.5
_RUNNING = ("mining", "auto-tuning", "initializing", "starting", "restarting")

T = TypeVar("T")


class StageFailed(MinewardenError):
    """A stage did not happen; the text says what was seen instead."""


@dataclass(kw_only=True, slots=True)
class Scenario:
    """One run of the demo's story."""

    layout: Layout
    watch: Watch
    board: Board
    wan: Wan
    clock: Clock
    duration_s: float
    full: bool
    """Whether torch is there, so that the challenger takes part."""
    check: Callable[[], None]
    """Raises when a process has died."""

    async def play(self) -> None:
        """The whole story; raises `StageFailed` where it cannot go on."""
        await self._running()
        await self._first_model()
        await self._worn_fan()
        await self._wall_stops()
        await self._second_model()
        await self._nothing_lost()

    # -- normal running

    async def _running(self) -> None:
        devices = await self._until("every device is polled", self._all_polled, 40)
        self.board.done("polled", f"{len(devices)} devices, {_miners(devices)} miners among them")
        stored = await self._until("rows of every device are stored", self._all_stored, 40)
        self.board.done("stored", f"{stored} rows in the cloud, newest of every device under 20 s old")

    async def _all_polled(self) -> list[Json] | None:
        devices = await self.watch.devices()
        fresh = [device for device in devices if device["samples"] and device["data_age_s"] is not None]
        return devices if devices and len(fresh) == len(devices) else None

    async def _all_stored(self) -> int | None:
        devices = await self.watch.devices()
        ledger = await self.watch.cloud(f"/sites/{SITE}/ledger")
        young = [device for device in devices if (device["data_age_s"] or 99) < 20]
        return int(ledger["rows_in_store"]) if ledger and devices and len(young) == len(devices) else None

    # -- learning

    async def _first_model(self) -> None:
        await self._at(FIRST_TRAINING_S, "collecting the first minute of telemetry")
        version, detail = await self._train(["pca"])
        self.board.done("trained", f"v{version}: {detail}")
        await self._roll_out(version)
        inferred = await self._until("miners are scored", self._scored, 30)
        self.board.done("inferred", inferred)

    async def _train(self, algorithms: list[str]) -> tuple[int, str]:
        self.board.say(f"training {' and '.join(algorithms)} on what the site sent")
        job = await self.watch.write("/training", {"site": SITE, "algorithms": algorithms})
        path = f"/training/{job['id']}"

        async def finished() -> Json | None:
            seen = await self.watch.cloud(path)
            return seen if seen and seen["state"] in ("done", "failed") else None

        seen = await self._until("the training ends", finished, 120)
        if seen["state"] == "failed":
            raise StageFailed(f"training failed: {seen['detail']}")
        models = await self.watch.cloud("/models")
        versions = [model for model in (models or {}).get("items", []) if model["status"] == "blessed"]
        if not versions:
            raise StageFailed(f"no model passed the gate: {seen['detail']}")
        newest = max(versions, key=lambda model: int(model["version"]))
        return int(newest["version"]), f"{newest['algorithm']}, {seen['detail']}"

    async def _roll_out(self, version: int) -> None:
        name = await self._name_of(version)
        body = {"site": SITE, "name": name, "version": version, "stage": "active"}
        await self.watch.write("/rollouts", body)
        for state, stage, seconds in (
            ("verified", "pushed", 30),
            ("shadow", "shadowed", 30),
            ("active", "swapped", 75),
        ):
            detail = await self._until(f"v{version} is {state}", self._reported(version, state), seconds)
            self.board.done(stage, f"v{version} {detail}")

    async def _name_of(self, version: int) -> str:
        models = await self.watch.cloud("/models")
        names = [m["name"] for m in (models or {}).get("items", []) if m["version"] == version]
        return str(names[0])

    def _reported(self, version: int, state: str) -> Callable[[], Awaitable[str | None]]:
        async def look() -> str | None:
            for rollout in await self.watch.rollouts():
                if rollout["version"] != version:
                    continue
                for step in rollout["history"]:
                    if step["state"] in ("refused", "rolled-back"):
                        raise StageFailed(f"v{version} was {step['state']}: {step['detail']}")
                    if step["state"] == state:
                        return f"{state}: {step['detail']}"
            return None

        return look

    async def _scored(self) -> str | None:
        status = await self.watch.agent()
        inference = (status or {}).get("inference") or {}
        if not inference.get("cycles") or not inference.get("miners"):
            return None
        return f"{inference['miners']} miners in one batch of {inference['last_ms']:.1f} ms"

    # -- a miner's fan wears out

    async def _worn_fan(self) -> None:
        before = await self._preset(WORN)
        self.board.say(f"a fan of {WORN} begins to wear out (it runs preset {before})")
        await self.watch.fault("fan_wear", WORN, severity=0.75, ramp_s=25)
        alarm = await self._until(f"the model finds {WORN}", self._alarm_of(WORN), 70)
        hottest = await self._hottest(WORN)
        self.board.done(
            "alarmed",
            f"{alarm['title']}; its chips read {hottest:.0f} °C at most, the firmware's limit is 90 °C",
            ok=hottest < FIRMWARE_LIMIT_C,
        )
        action = await self._until("a proposal is made", self._action_on(WORN, "source", "policy"), 40)
        asked, why = action["data"]["asked"], action["data"]["why"]
        self.board.done("proposed", f"{asked} for {WORN}, because {why}")
        applied = await self._until(
            "the lower preset is confirmed", self._action_on(WORN, "result", "applied"), 60
        )
        after = await self._until("the device says so too", lambda: self._other_preset(WORN, before), 30)
        self.board.done("applied", f"{applied['title']}; the machine now runs {after} (was {before})")

    def _alarm_of(self, device: str) -> Callable[[], Awaitable[Json | None]]:
        async def look() -> Json | None:
            for alarm in await self.watch.alarms():
                if alarm["device"] == device and alarm["key"].startswith("anomaly"):
                    return alarm
            return None

        return look

    def _action_on(self, device: str, key: str, value: str) -> Callable[[], Awaitable[Json | None]]:
        """Looks for a write to the device whose journal entry says `key` = `value`."""

        async def look() -> Json | None:
            for event in await self.watch.events("action"):
                if event["device"] == device and event["data"].get(key) == value:
                    return event
            return None

        return look

    async def _preset(self, device: str) -> str | None:
        seen = await self.watch.truth()
        return None if seen is None else str(seen["miners"][device]["preset"])

    async def _other_preset(self, device: str, before: str | None) -> str | None:
        preset = await self._preset(device)
        return preset if preset != before else None

    async def _hottest(self, device: str) -> float:
        seen = await self.watch.truth()
        if seen is None:
            raise StageFailed("the simulator does not answer")
        return float(seen["miners"][device]["reported_chip_max_ever_c"])

    # -- the exhaust wall stops, and the WAN is cut while the trip stands

    async def _wall_stops(self) -> None:
        self.board.say(f"the exhaust wall of {HOT_ZONE} stops")
        await self.watch.fault("exhaust_fan_stopped", HOT_ZONE)
        began = self.board.elapsed_s
        first_out = await self._until("the interlock trips", self._tripped, 40)
        self.board.say(f"tripped after {self.board.elapsed_s - began:.1f} s: {first_out}")
        stopped = await self._until("every miner is stopped", self._all_stopped, 40)
        self.board.done(
            "tripped",
            f"{first_out}; {stopped} in {self.board.elapsed_s - began:.1f} s",
            ok="limit" not in stopped,
        )
        await self._without_wan()
        reset = await self._until("the first restart batch is confirmed", self._restarted, 60)
        self.board.done("reset", reset)

    async def _tripped(self) -> str | None:
        zone = await self._zone()
        trips = [trip for trip in (zone or {}).get("trips", []) if not trip.get("device")]
        return str(trips[0]["first_out"]) if trips else None

    async def _zone(self) -> Json | None:
        status = await self.watch.agent()
        zones = (status or {}).get("zones") or {}
        zone = zones.get(HOT_ZONE) if isinstance(zones, dict) else None
        return zone if isinstance(zone, dict) else None

    async def _all_stopped(self) -> str | None:
        truth = await self.watch.truth()
        if truth is None:
            return None
        hall = [truth["miners"][name] for name in miner_ids(HOT_ZONE)]
        if any(miner["state"] in _RUNNING or miner["state"] == "shutting-down" for miner in hall):
            return None
        hottest = max(float(miner["reported_chip_max_ever_c"]) for miner in hall)
        tripped = [miner for miner in hall if miner["protection_fired"]]
        if tripped or hottest >= FIRMWARE_LIMIT_C:
            return f"{len(tripped)} miners reached the firmware's own limit first ({hottest:.0f} °C)"
        return f"{len(hall)} miners stopped at {hottest:.0f} °C at most"

    async def _without_wan(self) -> None:
        self.board.say(f"the WAN is cut for {WAN_CUT_S:.0f} s")
        cut_at = self.board.elapsed_s
        self.wan.cut()
        await self._at(cut_at + 8, "the site goes on without the cloud")
        self.board.say("a technician repairs the exhaust wall")
        await self.watch.clear_fault("exhaust_fan_stopped", HOT_ZONE)
        accepted, said = await self._reset()
        if accepted:
            raise StageFailed("a reset was accepted before cooling was proven")
        self.board.say(f"an early reset is answered: {said}")
        said = await self._until("cooling is proven and the reset accepted", self._reset_accepted, 40)
        self.board.say(f"reset: {said}")
        await self._at(cut_at + WAN_CUT_S, "the WAN is still cut")
        self.wan.restore()
        restored = self.board.elapsed_s
        await self._until("the link is back and the backlog sent", self._caught_up, 60)
        self.board.done(
            "wan_recovered", f"link back and backlog sent {self.board.elapsed_s - restored:.1f} s after"
        )

    async def _reset(self) -> tuple[bool, str]:
        """What an operator types on the gateway; whether it was accepted, and the answer."""
        site = str(self.layout.site_file)
        code, said = await self.watch.command(
            "guardian", "reset", "--site", site, "--zone", HOT_ZONE, "--reason", "wall repaired"
        )
        return code == 0, said.splitlines()[-1] if said else ""

    async def _reset_accepted(self) -> str | None:
        accepted, said = await self._reset()
        return said if accepted else None

    async def _restarted(self) -> str | None:
        truth = await self.watch.truth()
        zone = await self._zone()
        if truth is None or zone is None:
            return None
        hall = miner_ids(HOT_ZONE)
        running = [name for name in hall if truth["miners"][name]["state"] in _RUNNING]
        confirmed = [
            event["title"]
            for event in await self.watch.events("system")
            if event["key"] == f"restart/{HOT_ZONE}"
        ]
        return f"{confirmed[-1]}; {len(running)} of {len(hall)} running" if confirmed and running else None

    async def _caught_up(self) -> str | None:
        status = await self.watch.agent()
        site = await self.watch.site()
        if status is None or site is None or not status["uplink"]["connected"] or not site["online"]:
            return None
        pending = sum(int(stream["pending"]) for stream in status["outbox"]["streams"].values())
        return "caught up" if pending <= 4 and (site["data_age_s"] or 99) < 15 else None

    # -- a new version, and the balance

    async def _second_model(self) -> None:
        algorithms = ["pca", "lstm-ae"] if self.full else ["pca"]
        version, detail = await self._train(algorithms)
        self.board.done("trained", f"v{version}: {detail}")
        await self._roll_out(version)

    async def _nothing_lost(self) -> None:
        balance = await self._until("recorded and committed rows agree", self._balance, 45)
        self.board.done("committed", balance)

    async def _balance(self) -> str | None:
        status = await self.watch.agent()
        ledger = await self.watch.cloud(f"/sites/{SITE}/ledger")
        if status is None or ledger is None:
            return None
        recorded = int(status["all_epochs"]["rollup"])
        pending = int(status["outbox"]["streams"]["rollup"]["pending"])
        streams = [stream for stream in ledger["streams"] if stream["stream"] == "rollup"]
        committed = sum(int(stream["rows"]) for stream in streams)
        gaps = [gap for stream in streams for gap in stream["gaps"]]
        again = sum(int(stream["duplicate_batches"]) for stream in streams)
        stored = int(ledger["rows_in_store"])
        if pending or gaps or not recorded == committed == stored:
            return None
        return (
            f"{recorded} rows recorded on site = {committed} committed = {stored} stored; "
            f"{again} batches came twice"
        )

    # -- waiting

    async def _until(self, what: str, look: Callable[[], Awaitable[T | None]], seconds: float) -> T:
        """Look until something is seen; fails with `what` after `seconds`, or when the duration is over."""
        give_up = self.clock.monotonic() + seconds
        while True:
            self.check()
            seen = await look()
            if seen is not None:
                return seen
            if self.clock.monotonic() > give_up:
                raise StageFailed(f"waited {seconds:.0f} s, but not: {what}")
            if self.board.elapsed_s > self.duration_s:
                raise StageFailed(f"the duration of {self.duration_s:.0f} s ended before: {what}")
            await self.clock.sleep(_POLL_S)

    async def _at(self, elapsed_s: float, meanwhile: str) -> None:
        if self.board.elapsed_s < elapsed_s:
            self.board.say(meanwhile)
        while self.board.elapsed_s < elapsed_s:
            self.check()
            await self.clock.sleep(min(_POLL_S, max(0.0, elapsed_s - self.board.elapsed_s)))


def _miners(devices: list[Json]) -> int:
    return sum(device["kind"] == "miner" for device in devices)
