"""What `[agent]` says about storage: bounds that hold something, and commits that lose little."""

import math
from typing import Final

from edge_agent.config.structs import SiteFile
from edge_agent.config.zone_checks import Problem

LONGEST_FLUSH_S: Final = 5.0
"""A power cut costs what was not committed; a commit a second or two costs the flash next to nothing more."""


def check_storage(site: SiteFile) -> list[Problem]:
    """Everything that is wrong with how much is kept, for how long, and how often it is committed."""
    agent = site.agent
    problems: list[Problem] = [
        (f"agent.{name}", f"is {getattr(agent, name)}, must be at least 1 MB")
        for name in ("raw_keep_mb", "outbox_keep_mb")
        if getattr(agent, name) < 1
    ]
    for name in ("raw_keep_days", "outbox_keep_days"):
        value = getattr(agent, name)
        if not (math.isfinite(value) and value > 0):
            problems.append((f"agent.{name}", f"is {value}, must be a number of days above 0"))
    if not 0 < agent.flush_every_s <= LONGEST_FLUSH_S:
        text = f"is {agent.flush_every_s:g}, expected above 0 and at most {LONGEST_FLUSH_S:g} s"
        problems.append(("agent.flush_every_s", text))
    return problems
