"""A whole site as one pure core: caps and mains first, then every zone; and what of it must be on disk."""

import msgspec

from edge_agent.config import SiteFile
from edge_agent.guardian.interlocks import caps, mains
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.interlocks.caps import CALM, CapInput, CapState
from edge_agent.guardian.interlocks.inputs import FeederClaim, Finding, MainsClaim, ZoneInput, ZoneOutputs
from edge_agent.guardian.interlocks.mains import MainsInput, MainsState
from edge_agent.guardian.interlocks.state import Durable, ZoneState, durable, restored
from shared.ids import DeviceId, ZoneId
from shared.telemetry import DeviceKind

Wiring = dict[str, dict[ZoneId, frozenset[DeviceId]]]
"""Power cap → zone → the miners there that hang on it."""


class SiteState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the core of a site remembers. `wiring` is the site file's, worked out once at the start."""

    zones: dict[ZoneId, ZoneState]
    caps: dict[str, CapState] = {}
    mains: MainsState = MainsState()
    wiring: Wiring = {}


class SiteInput(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen of the whole site at one step. A cap or a UPS that is left out is unknown."""

    zones: dict[ZoneId, ZoneInput]
    caps: dict[str, CapInput] = {}
    mains: MainsInput = MainsInput()
    held: frozenset[DeviceId] = frozenset()
    """Miners that a power order keeps stopped."""


class SiteOutputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of the whole site wants."""

    zones: dict[ZoneId, ZoneOutputs]
    mains: MainsClaim = MainsClaim.NONE

    @property
    def durable(self) -> bool:
        return any(outputs.durable for outputs in self.zones.values())


def step(
    state: SiteState, inputs: SiteInput, site: SiteFile, dt: float
) -> tuple[SiteState, SiteOutputs, tuple[Finding, ...]]:
    """Step caps, mains and every zone by `dt` seconds. Zones meet in caps and mains only."""
    found: list[Finding] = []
    cap_states, claims = _caps(state, inputs, site, dt, found)
    mains_state, mains_claim = state.mains, MainsClaim.NONE
    if site.mains is not None:
        mains_state, mains_claim, told = mains.step(state.mains, inputs.mains, site.mains, dt)
        found += told
    after: dict[ZoneId, ZoneState] = {}
    outputs: dict[ZoneId, ZoneOutputs] = {}
    for zone in site.zones:
        given = msgspec.structs.replace(
            inputs.zones[zone.id], feeders=tuple(claims[zone.id]), mains=mains_claim, held=inputs.held
        )
        after[zone.id], outputs[zone.id], told_by_zone = zone_step.step(
            state.zones[zone.id], given, zone, site.timing, dt
        )
        found += told_by_zone
    new = msgspec.structs.replace(state, zones=after, caps=cap_states, mains=mains_state)
    return new, SiteOutputs(zones=outputs, mains=mains_claim), tuple(found)


def _caps(
    state: SiteState, inputs: SiteInput, site: SiteFile, dt: float, found: list[Finding]
) -> tuple[dict[str, CapState], dict[ZoneId, list[FeederClaim]]]:
    states: dict[str, CapState] = {}
    claims: dict[ZoneId, list[FeederClaim]] = {zone.id: [] for zone in site.zones}
    for cap in site.power_caps:
        behind = {
            zone: tuple(miner for miner in inputs.zones[zone].miners if miner.device in fed)
            for zone, fed in state.wiring[cap.id].items()
        }
        given = inputs.caps.get(cap.id, CapInput(value=None))
        states[cap.id], wanted, told = caps.step(
            state.caps.get(cap.id, CALM), given, cap, behind, site.timing, dt
        )
        found += told
        for zone, claim in wanted.items():
            claims[zone].append(claim)
    return states, claims


def wiring(site: SiteFile) -> Wiring:
    """Who hangs on which power cap, by zone; zones without such a miner are left out."""
    found: Wiring = {}
    for cap in site.power_caps:
        fed: dict[ZoneId, set[DeviceId]] = {}
        for device in site.devices:
            here = device.zone in cap.zones if cap.pdu is None else device.pdu == cap.pdu
            if device.kind is DeviceKind.MINER and here:
                fed.setdefault(device.zone, set()).add(device.id)
        found[cap.id] = {zone: frozenset(some) for zone, some in fed.items()}
    return found


def start(site: SiteFile, kept: dict[ZoneId, Durable]) -> SiteState:
    """The state at the start of the process: SAFE, with the latches that were kept."""
    zones = {zone.id: restored(kept.get(zone.id, Durable())) for zone in site.zones}
    return SiteState(zones=zones, wiring=wiring(site))


def keep(state: SiteState) -> dict[ZoneId, Durable]:
    """What must survive a restart."""
    return {zone: durable(entry) for zone, entry in state.zones.items()}
