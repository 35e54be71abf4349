"""MQTT topics, version 1. The site id is the MQTT user name, so one ACL pattern isolates sites.

`up` is written by the site, `dn` by the cloud. See docs/protocol.md for QoS and retention.
"""

from typing import NamedTuple

from shared.errors import WireError
from shared.ids import CommandId, SiteId

ROOT = "mw/1"
TELEMETRY_STREAM = "rollup"
EVENT_STREAM = "ev"
SCORE_STREAM = "score"
"""Telemetry stream of `ScoreRow`, on `up/t/score`."""
HISTORY_STREAM = "hist"
"""Telemetry stream of `HistoryRow`, on `up/t/hist`: what devices remember of a gap."""
RAW_STREAM = "raw"
"""Telemetry stream of `shared.frames.Frame`, on `up/t/raw`: windows of raw samples."""

ALL_UP = f"{ROOT}/+/up/#"
"""What the cloud's ingest subscribes to."""


def birth(site: SiteId) -> str:
    return f"{ROOT}/{site}/up/birth"


def state(site: SiteId) -> str:
    return f"{ROOT}/{site}/up/state"


def telemetry(site: SiteId, stream: str = TELEMETRY_STREAM) -> str:
    return f"{ROOT}/{site}/up/t/{stream}"


def events(site: SiteId) -> str:
    return f"{ROOT}/{site}/up/ev"


def result(site: SiteId, command: CommandId) -> str:
    return f"{ROOT}/{site}/up/res/{command}"


def chunk_request(site: SiteId) -> str:
    return f"{ROOT}/{site}/up/get"


def certificate_request(site: SiteId) -> str:
    return f"{ROOT}/{site}/up/csr"


def ack(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/ack"


def command(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/cmd"


def plan(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/plan"


def model(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/model"


def raw_wanted(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/want"


def certificate(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/cert"


def keyring(site: SiteId) -> str:
    return f"{ROOT}/{site}/dn/keys"


def chunk(site: SiteId, sha256: str, number: int) -> str:
    return f"{ROOT}/{site}/dn/blob/{sha256}/{number}"


def all_down(site: SiteId) -> str:
    """What the agent subscribes to."""
    return f"{ROOT}/{site}/dn/#"


class Topic(NamedTuple):
    """A topic taken apart: `rest` is what follows `up` or `dn`, as levels."""

    site: SiteId
    direction: str
    rest: tuple[str, ...]


def parse(topic: str) -> Topic:
    """Take a topic apart; raises `WireError` for one that is not ours."""
    levels = topic.split("/")
    if len(levels) < 5 or levels[:2] != ROOT.split("/") or levels[3] not in ("up", "dn"):
        raise WireError(f"topic {topic!r} is not {ROOT}/<site>/up|dn/...")
    return Topic(SiteId(levels[2]), levels[3], tuple(levels[4:]))
