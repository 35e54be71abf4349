"""Sites for roll-outs over a real broker: each takes its assignment as the agent does, and answers."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import paho.mqtt.client as mqtt

from shared.alarms import EventKind
from shared.artifacts.manifest import Stage, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.clock import SystemClock
from shared.errors import SecurityError
from shared.ids import SiteId
from shared.wire import codec, topics
from support.cloud import batch, event
from support.cloud_site import FakeSite
from support.rollouts import GOOD, NAME

REPORT_EVERY_S = 0.5


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a site says of a version: its numbers on a stage, or that it takes it back there."""

    numbers: dict[str, Any]
    rolls_back_on: Stage | None = None


FINE = Behaviour(numbers=GOOD)
SICK = Behaviour(numbers={**GOOD, "alarm_rate": 0.7})


class RolloutSite(FakeSite):
    """Verifies every assignment with the keyring, walks its stages, and reports numbers until it lets go."""

    def __init__(
        self,
        port: int,
        site: str,
        keyring: Keyring,
        behave: Callable[[int], Behaviour],
        log: list[tuple[str, int, Stage]],
    ) -> None:
        super().__init__(port, SiteId(site))
        self._log = log
        self._keyring = keyring
        self._behave = behave
        self._clock = SystemClock()
        self._events = 0
        self.counters: list[int] = []
        """Of the assignments that came, in this order, without repeats."""
        self.stages: list[tuple[int, Stage]] = []
        self.refused: list[str] = []
        self.mute = False
        self._stage: tuple[int, Stage] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._report_on, daemon=True)

    def __enter__(self) -> "RolloutSite":
        super().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        super().__exit__()

    def _message(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == topics.model(self.site):
            self._consider(bytes(message.payload))
        super()._message(client, data, message)

    def _consider(self, payload: bytes) -> None:
        """What the agent does with an assignment, as far as the cloud can tell."""
        try:
            signed = codec.decode(payload, Signed)
            found = verify_assignment(signed, self._keyring, site=self.site, now_ms=self._clock.utc_ms())
        except SecurityError as error:
            self.refused.append(str(error))
            return
        counter, stage = found.assignment.counter, found.assignment.stage
        if self.counters and counter <= self.counters[-1]:
            return  # retained: it comes again at every connect
        self.counters.append(counter)
        version = found.manifest.version
        self.stages.append((version, stage))
        self._log.append((self.site, version, stage))
        behaviour = self._behave(version)
        if stage is Stage.WITHDRAWN:
            self._stage = None
            self.say(version, "rolled-back", detail="withdrawn by the cloud")
        elif behaviour.rolls_back_on is stage:
            self._stage = None
            self.say(version, "rolled-back", detail="it floods")
        else:
            if stage is Stage.SHADOW:
                self.say(version, "downloaded")
                self.say(version, "verified")
            self._stage = (version, stage)
            self.say(version, stage.value)

    def say(self, version: int, state: str, *, detail: str = "", **numbers: Any) -> None:
        """Put a report into the outbox and send it."""
        self._events += 1
        data = {"name": NAME, "version": version, "state": state, "detail": detail or state, **numbers}
        told = event(
            self._events, EventKind.MODEL, key=f"model:{NAME}", at_ms=self._clock.utc_ms(), data=data
        )
        payload = batch([told], self._events)
        self.add(self._events, payload)
        self.publish(topics.events(self.site), payload)

    def _report_on(self) -> None:
        while not self._stop.wait(REPORT_EVERY_S):
            self.send_pending(topics.events(self.site))
            stage = self._stage
            if stage is not None and not self.mute:
                self.say(stage[0], f"{stage[1].value}-report", **self._behave(stage[0]).numbers)


def wait_all(sites: Sequence[RolloutSite], what: Callable[[RolloutSite], bool], seconds: float) -> bool:
    """Wait until each of these sites fulfils `what`."""
    clock = SystemClock()
    end_s = clock.monotonic() + seconds
    return all(
        site.wait(lambda site=site: what(site), max(0.1, end_s - clock.monotonic()))  # type: ignore[misc]  # the default binds the site
        for site in sites
    )
