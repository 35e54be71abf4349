"""Which devices are read at the cadence of safety."""

import msgspec

from edge_agent.config import (
    Contact,
    Curtailment,
    Effect,
    HighLimits,
    Mains,
    PointRef,
    PowerCap,
    SiteFile,
)
from edge_agent.guardian.polling.cadence import urgent_devices


def test_proofs_and_probes_but_no_miner(site: SiteFile) -> None:
    assert urgent_devices(site) == {"wall-1", "probe-1"}


def test_everything_that_speaks_for_a_zone_or_the_site(site: SiteFile) -> None:
    point = PointRef(device="meter-1", point="power_w")
    zone = msgspec.structs.replace(
        site.zones[0],
        cooling_proof=msgspec.structs.replace(
            site.zones[0].cooling_proof, others=(PointRef(device="flow-1", point="flow_m3h"),)
        ),
        contacts=(
            Contact(
                name="smoke",
                device="io-1",
                point="smoke",
                effect=Effect.ALARM,
                on_unknown=Effect.ALARM,
                on_delay_s=0.0,
            ),
        ),
        bypass_key=PointRef(device="key-1", point="running"),
    )
    limits = HighLimits(release=1.0, warn=2.0, shed=3.0, trip=4.0, on_delay_s=0.0, off_delay_s=0.0)
    whole = msgspec.structs.replace(
        site,
        zones=(zone,),
        power_caps=(
            PowerCap(id="feeder", points=(point,), limits=limits, w_per_unit=1.0, ramp_w_per_min=1.0),
        ),
        mains=Mains(
            device="ups-1",
            on_battery_point="on_battery",
            runtime_point="runtime_s",
            on_delay_s=1.0,
            restore_after_s=1.0,
            stages=(),
        ),
        curtailment=Curtailment(
            meter=(PointRef(device="meter-2", point="power_w"),),
            within_pct=2.0,
            within_w=1.0,
            confirm_for_s=1.0,
            restore_jitter_s=1.0,
        ),
    )
    assert urgent_devices(whole) == {
        *("wall-1", "flow-1", "probe-1", "io-1", "key-1", "meter-1", "ups-1", "meter-2"),
    }
