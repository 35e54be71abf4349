"""Builders for tests of roll-outs: models to assign, sites that answer, a cloud whose broker is a list."""

from collections.abc import Sequence
from typing import Any

import msgspec

from cloud.kit.problems import Unavailable
from cloud.models.service import Built, register
from cloud.rollouts.campaigns.hands import Signer
from cloud.rollouts.campaigns.worker import CampaignWorker
from cloud.training.report import Candidate
from shared.alarms import EventKind
from shared.artifacts.manifest import Assignment, Manifest, Scope, Stage
from shared.artifacts.signing import Signed
from shared.ids import SiteId
from shared.wire import codec, topics
from support.cloud import NOW_MS, SITE, Service, batch, born, event, told
from support.manifests import draft

MODEL = bytes(range(256)) * 1200  # two and a bit chunks
NAME = "miner-anomaly"
GOOD: dict[str, Any] = {
    "agreement": 0.99,
    "alarm_rate": 0.01,
    "latency_p99_ms": 12.0,
    "intervention_rate": 0.01,
    "cycles": 50,
    "errors": 0,
}
"""Numbers of a model that does well."""


def manifest(scope: Scope | None = None, data: bytes = MODEL) -> Manifest:
    """A manifest of `MODEL` before registration: the registry gives it version, issue and expiry."""
    return draft(data, scope=scope or Scope())


def built(*, accepted: bool = True, chosen: bool = True, scope: Scope | None = None) -> Built:
    """What a training run brings: blessed when it is registered, unless it is not chosen."""
    candidate = Candidate(algorithm="pca", accepted=accepted, detail="")
    return Built(candidate=candidate, draft=manifest(scope), chosen=chosen)


class Outbound:
    """Stands for the command link."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.is_up = True
        self.on_up: Any = None

    async def send(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Keep it, or say that the broker is away."""
        if not self.is_up:
            raise Unavailable("not connected")
        self.sent.append((topic, payload, retain))

    def assigned(self) -> dict[str, tuple[int, Stage]]:
        """Version and stage that stand retained for each site, as its newest message says."""
        found = {}
        for topic, payload, _ in self.sent:
            assignment = msgspec.msgpack.decode(codec.decode(payload, Signed).payload, type=Assignment)
            model = msgspec.msgpack.decode(assignment.manifest.payload, type=Manifest)
            found[topic.split("/")[2]] = (model.version, assignment.stage)
        return found


class Fleet:
    """A cloud with sites that say what a test makes them say; time stands still but for `pass_s`."""

    def __init__(self, running: Service, outbound: Outbound) -> None:
        self.running = running
        self.outbound = outbound
        self.context = running.context
        self.context.command_link.send = outbound.send  # type: ignore[method-assign]  # the fake sends
        self._events = 0
        self._seq: dict[str, int] = {}
        signer = Signer(key=self.context.keys.assignment, life_days=90)
        self.worker = CampaignWorker(
            self.context.database,
            signer,
            self.context.clock,
            self.context.assignments,
            on_changes=self.context.hub.publish,
        )

    async def sites(self, *names: str) -> None:
        """Sites that were born and have been heard just now."""
        await self.running.bench.commit(*(born(site=SiteId(name)) for name in names))
        await self.hear(*names)

    async def hear(self, *names: str) -> None:
        """These sites send something now."""
        await self._say(names, EventKind.SYSTEM, {"note": "here"})

    async def model(
        self, *, accepted: bool = True, chosen: bool = True, scope: Scope | None = None, site: str = SITE
    ) -> int:
        """Register the next version; its number."""
        await self.context.blobs.put(MODEL)
        async with self.context.database.write() as session:
            (row,) = await register(
                session,
                [built(accepted=accepted, chosen=chosen, scope=scope)],
                site=site,
                job="j",
                keys=self.context.keys,
                now_ms=self.context.clock.utc_ms(),
                life_days=365,
            )
            return row.version

    async def report(
        self, sites: str | Sequence[str], state: str, version: int = 1, detail: str = "", **numbers: Any
    ) -> None:
        """A word of these sites about a version."""
        names = [sites] if isinstance(sites, str) else sites
        data = {"name": NAME, "version": version, "state": state, "detail": detail or f"is {state}"}
        await self._say(names, EventKind.MODEL, {**data, **numbers})

    async def _say(self, sites: Sequence[str], kind: EventKind, data: dict[str, Any]) -> None:
        messages = []
        for site in sites:
            self._events += 1
            self._seq[site] = seq = self._seq.get(site, 0) + 1
            at_ms = self.context.clock.utc_ms()
            message = batch([event(self._events, kind, key=f"model:{NAME}", at_ms=at_ms, data=data)], seq)
            messages.append(told(topics.events(SiteId(site)), message, now_ms=at_ms))
        assert not (await self.running.bench.commit(*messages)).refused

    def pass_s(self, seconds: float) -> None:
        """Time goes by for everybody."""
        self.running.bench.clock.advance(seconds)

    async def tick(self) -> None:
        """The worker looks once."""
        await self.worker.tick()

    async def begin(self, status: int = 201, **changes: Any) -> dict[str, Any]:
        """Start a campaign of version 1 (or what `changes` say)."""
        body = {"name": NAME, "version": 1, "actor": "Ada", "soak_s": 600.0, **changes}
        answer: dict[str, Any] = await self.running.post("/campaigns", body, status)
        return answer

    async def order(self, campaign: str, order: str, status: int = 200, **changes: Any) -> dict[str, Any]:
        body = {"actor": "Ada", "reason": "a reason", **changes}
        answer: dict[str, Any] = await self.running.post(f"/campaigns/{campaign}/{order}", body, status)
        return answer

    async def decide(
        self, approval: str, actor: str, status: int = 200, word: str = "approve"
    ) -> dict[str, Any]:
        answer: dict[str, Any] = await self.running.post(
            f"/approvals/{approval}/{word}", {"actor": actor}, status
        )
        return answer

    async def campaign(self, campaign: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.running.get(f"/campaigns/{campaign}")
        return found

    async def through(self, sites: Sequence[str], stage: str, *, version: int = 1, **numbers: Any) -> None:
        """These sites reach a stage, soak there with good numbers, and the worker looks."""
        if stage == "shadow":
            await self.report(sites, "downloaded", version)
            await self.report(sites, "verified", version)
        await self.report(sites, stage, version)
        self.pass_s(601)
        await self.report(sites, f"{stage}-report", version, **{**GOOD, **numbers})
        await self.tick()


__all__ = ["GOOD", "MODEL", "NAME", "NOW_MS", "Fleet", "Outbound", "built", "manifest"]
