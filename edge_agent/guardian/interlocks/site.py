"""All zones of a site as one pure core, and what of it must be on disk."""

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.inputs import Finding, ZoneInput, ZoneOutputs
from edge_agent.guardian.interlocks.state import Durable, ZoneState, durable, restored
from shared.ids import ZoneId

SiteState = dict[ZoneId, ZoneState]


class SiteOutputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of the whole site wants."""

    zones: dict[ZoneId, ZoneOutputs]

    @property
    def durable(self) -> bool:
        return any(outputs.durable for outputs in self.zones.values())


def step(
    state: SiteState, inputs: dict[ZoneId, ZoneInput], site: SiteFile, dt: float
) -> tuple[SiteState, SiteOutputs, tuple[Finding, ...]]:
    """Step every zone by `dt` seconds; zones do not influence each other."""
    after: SiteState = {}
    outputs: dict[ZoneId, ZoneOutputs] = {}
    found: list[Finding] = []
    for zone in site.zones:
        new, wants, told = zone_step.step(state[zone.id], inputs[zone.id], zone, site.timing, dt)
        after[zone.id], outputs[zone.id] = new, wants
        found += told
    return after, SiteOutputs(zones=outputs), tuple(found)


def start(site: SiteFile, kept: dict[ZoneId, Durable]) -> SiteState:
    """The state at the start of the process: SAFE, with the latches that were kept."""
    return {zone.id: restored(kept.get(zone.id, Durable())) for zone in site.zones}


def keep(state: SiteState) -> dict[ZoneId, Durable]:
    """What must survive a restart."""
    return {zone: durable(entry) for zone, entry in state.items()}
