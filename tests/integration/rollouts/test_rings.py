"""Roll-outs with a real cloud, a real broker and sites that answer; the cloud is killed where it hurts."""

import contextlib
import json
import random
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts.manifest import Scope, Stage
from shared.artifacts.signing import Keyring
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.rollout_cloud import call, known, registered, state, until
from support.rollout_sites import FINE, SICK, Behaviour, RolloutSite, wait_all
from support.rollouts import NAME, built

pytestmark = pytest.mark.slow

TEN = tuple(f"site-{number}" for number in range(10))
SHADOW, ACTIVE, WITHDRAWN = Stage.SHADOW, Stage.ACTIVE, Stage.WITHDRAWN
Log = list[tuple[str, int, Stage]]


def prepare(cloud: CloudProcess, *scopes: Scope) -> Keyring:
    """Register one blessed version per scope before the cloud starts; what sites trust."""
    return Keyring(registered(cloud, [built(scope=scope) for scope in scopes], site=TEN[0]))


@contextlib.contextmanager
def fleet(
    broker: Broker,
    keyring: Keyring,
    names: tuple[str, ...],
    behave: Callable[[int], Behaviour] = lambda _: FINE,
) -> Iterator[tuple[dict[str, RolloutSite], Log]]:
    """These sites, connected; and who was told what, in the order in which it was heard."""
    log: Log = []
    with contextlib.ExitStack() as stack:
        yield (
            {
                name: stack.enter_context(RolloutSite(broker.port, name, keyring, behave, log))
                for name in names
            },
            log,
        )


def begin(cloud: CloudProcess, version: int = 1, **changes: Any) -> dict[str, Any]:
    body = {"name": NAME, "version": version, "actor": "Ada", "soak_s": 0.5, "sites": list(TEN), **changes}
    found: dict[str, Any] = call(cloud, "/campaigns", body)["campaign"]
    return found


def rings(view: dict[str, Any]) -> list[list[str]]:
    return [[site["site"] for site in ring["sites"]] for ring in view["rings"]]


def test_ten_sites_through_four_rings(broker: Broker, cloud: CloudProcess) -> None:
    """10 → 30 → 50 → 100 %, each ring in the shadow and then active; a stranger's word changes nothing."""
    keyring = prepare(cloud, Scope())
    cloud.start()
    with fleet(broker, keyring, (*TEN, "stranger")) as (sites, log):
        known(cloud, (*TEN, "stranger"))
        campaign = begin(cloud)
        assert [len(ring) for ring in rings(campaign)] == [1, 2, 2, 5]
        sites["stranger"].say(1, "rolled-back", detail="to stop what is not mine")
        until(cloud, lambda: state(cloud, campaign)["state"] == "done", 240)
        view = state(cloud, campaign)
        assert view["strangers"] == ["stranger"]
        assert sites["stranger"].stages == []
        for name in TEN:
            assert sites[name].stages == [(1, SHADOW), (1, ACTIVE)]
            assert sites[name].refused == []
        where = {name: number for number, ring in enumerate(rings(view)) for name in ring}
        steps = [where[name] * 2 + (stage is ACTIVE) for name, _, stage in log]
        assert steps == sorted(steps), "no ring was told before the one ahead of it was through"
        whats = [step["what"] for step in reversed(view["history"])]
        assert whats == ["created", "started", *["advanced"] * 7, "done"]


def _is_active(cloud: CloudProcess, reported: str) -> bool:
    told = call(cloud, reported)["items"][0]["reported"]
    return told is not None and told["state"] == "active"


def test_a_bad_model_is_halted_at_the_first_ring(broker: Broker, cloud: CloudProcess) -> None:
    """Nine of ten sites never hear of it, and the one that did runs what it ran before."""
    keyring = prepare(cloud, Scope(), Scope())
    cloud.start()
    with fleet(broker, keyring, TEN, lambda version: FINE if version == 1 else SICK) as (sites, _):
        known(cloud, TEN)
        for name in TEN:
            call(cloud, "/rollouts", {"site": name, "name": NAME, "version": 1, "stage": "active"})
        assert wait_all(list(sites.values()), lambda site: site.stages == [(1, ACTIVE)], 80)
        for name in TEN:  # what a canary goes back to is what the cloud has heard of it
            reported = f"/rollouts?site={name}"
            until(cloud, partial(_is_active, cloud, reported), 80)
        campaign = begin(cloud, version=2, soak_s=600)
        ((canary,), *others) = rings(campaign)
        until(cloud, lambda: state(cloud, campaign)["state"] == "halted", 120)
        until(cloud, lambda: not state(cloud, campaign)["held"], 80)
        view = state(cloud, campaign)
        assert view["why"] == (
            f"1 of 1 sites of ring 1 went wrong: {canary}: alarm rate 70.0%, at most 5.0% is allowed"
        )
        assert wait_all([sites[canary]], lambda site: site.stages[-1] == (1, ACTIVE), 40)
        assert sites[canary].stages == [(1, ACTIVE), (2, SHADOW), (2, WITHDRAWN), (1, ACTIVE)]
        assert sites[canary].counters == sorted(set(sites[canary].counters))
        for ring in others:
            for name in ring:
                assert sites[name].stages == [(1, ACTIVE)], "it never heard of version 2"
        (alarm,) = [
            one for one in call(cloud, "/alarms?state=all")["items"] if one["key"].startswith("rollout/")
        ]
        assert "was halted" in alarm["title"]
        assert alarm["cleared_ms"] is not None, "cleared once the site was back"


def test_killed_between_decision_and_publish(broker: Broker, cloud: CloudProcess) -> None:
    """The decision stands in the database, nothing of it went out, and the next cloud sends exactly it."""
    keyring = prepare(cloud, Scope())
    cloud.start()
    with fleet(broker, keyring, TEN[:4]) as (sites, _):
        known(cloud, TEN[:4])
        campaign = begin(cloud, sites=list(TEN[:4]), soak_s=15)
        ((canary,), *_) = rings(campaign)
        numbers = f"SELECT count(*) FROM model_reports WHERE site = '{canary}' AND state = 'shadow-report'"
        until(cloud, lambda: ask(cloud, numbers) >= 1, 80)
        broker.kill()
        until(cloud, lambda: ask(cloud, "SELECT step FROM campaigns") == 1, 120)
        cloud.kill()
        assert sites[canary].stages == [(1, SHADOW)], "decided, and not published"
        counter = ask(cloud, f"SELECT max(counter) FROM assignments WHERE site = '{canary}'")
        broker.start()
        cloud.start()
        assert wait_all([sites[canary]], lambda site: site.stages == [(1, SHADOW), (1, ACTIVE)], 120)
        assert sites[canary].counters[-1] == counter, "the very assignment that was decided"
        advanced = "SELECT count(*) FROM rollout_steps WHERE what = 'advanced' AND detail LIKE 'to ring 1%'"
        assert ask(cloud, advanced) == 1


def test_killed_again_and_again(broker: Broker, cloud: CloudProcess) -> None:
    """Wherever chance strikes, no site gets a stage twice and no ring is left out."""
    chance = random.Random(5)
    keyring = prepare(cloud, Scope())
    cloud.start()
    with fleet(broker, keyring, TEN[:4]) as (sites, log):
        known(cloud, TEN[:4])
        campaign = begin(cloud, sites=list(TEN[:4]))
        for _ in range(3):
            assert cloud.process is not None
            with contextlib.suppress(Exception):
                cloud.process.wait(timeout=chance.uniform(0.5, 3.5))
            cloud.kill()
            cloud.start()
        until(cloud, lambda: state(cloud, campaign)["state"] == "done", 240)
        for site in sites.values():
            assert site.stages == [(1, SHADOW), (1, ACTIVE)]
        where = {name: number for number, ring in enumerate(rings(campaign)) for name in ring}
        steps = [where[name] * 2 + (stage is ACTIVE) for name, _, stage in log]
        assert steps == sorted(steps)


def test_what_is_not_meant_for_a_site_is_refused_and_seen(broker: Broker, cloud: CloudProcess) -> None:
    """A roll-out that names sites out of scope; one over all sites leaves them out."""
    keyring = prepare(cloud, Scope(sites=TEN[:2]))
    cloud.start()
    with fleet(broker, keyring, TEN[:4]) as (sites, _):
        known(cloud, TEN[:4])
        with pytest.raises(urllib.error.HTTPError) as caught:
            begin(cloud, sites=list(TEN[:4]))
        assert caught.value.code == 409
        assert "is not meant for site-2, site-3" in json.load(caught.value)["detail"]
        newest = call(cloud, "/rollouts/record")["items"][0]
        assert (newest["what"], newest["actor"]) == ("not-allowed", "Ada")
        call(cloud, "/campaigns", {"name": NAME, "version": 1, "actor": "Ada", "soak_s": 600})
        assert wait_all([sites["site-0"]], lambda _: True, 1)
        until(cloud, lambda: any(sites[name].stages for name in TEN[:2]), 40)
        assert not any(sites[name].stages or sites[name].refused for name in TEN[2:4])


def ask(cloud: CloudProcess, sql: str) -> int:
    """A number from the cloud's own file, whether the cloud lives or not."""
    path = Path(cloud.folder) / "data" / "cloud.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        return int(database.execute(sql).fetchone()[0])
