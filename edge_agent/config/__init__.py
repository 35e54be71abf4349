"""The site file: one TOML file for guardian and agent, loaded whole or not at all.

Safety limits have no defaults: a missing one is an error that names file, line and key. Every key carries
its unit in its name, so a wrong unit shows as an unknown key or as a value outside what is plausible.
The file names credentials, never secrets. `docs/site-file.md` explains each key with an example.
"""

from edge_agent.config.load import load, parse
from edge_agent.config.structs import (
    SCHEMA,
    AgentSettings,
    Cadence,
    Contact,
    CoolingActuator,
    CoolingProof,
    Curtailment,
    Effect,
    FansAfterTrip,
    HighLimits,
    LowLimits,
    Mains,
    MainsStage,
    Paths,
    PointRef,
    PowerCap,
    Rack,
    SensorRole,
    Site,
    SiteFile,
    Strict,
    Timing,
    Uplink,
    Zone,
    ZoneLimits,
    ZoneSensor,
)

__all__ = [
    "SCHEMA",
    "AgentSettings",
    "Cadence",
    "Contact",
    "CoolingActuator",
    "CoolingProof",
    "Curtailment",
    "Effect",
    "FansAfterTrip",
    "HighLimits",
    "LowLimits",
    "Mains",
    "MainsStage",
    "Paths",
    "PointRef",
    "PowerCap",
    "Rack",
    "SensorRole",
    "Site",
    "SiteFile",
    "Strict",
    "Timing",
    "Uplink",
    "Zone",
    "ZoneLimits",
    "ZoneSensor",
    "load",
    "parse",
]
