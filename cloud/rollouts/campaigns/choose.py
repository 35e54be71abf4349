"""Which sites go first: the same for the same campaign and sites, and different from campaign to campaign.

A hash of campaign and site decides, so that it is never always the same sites that are tried first. A
site that asked never to be a canary comes in the last ring only.
"""

import hashlib
import math
from collections.abc import Collection, Sequence

from cloud.kit.problems import BadInput, Conflict


def rings(
    campaign: str, sites: Collection[str], *, unwilling: Collection[str], shares: Sequence[float]
) -> tuple[tuple[str, ...], ...]:
    """Split the sites by rising shares of all of them; empty rings fall away.

    Raises `BadInput` for shares that are not rising fractions ending in 1, and `Conflict` where every
    site asked never to be a canary.
    """
    if not shares or list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
        raise BadInput(
            "rings must be rising shares of the sites that end with 1, for example 0.1, 0.3, 0.5, 1"
        )
    willing = sorted(set(sites) - set(unwilling), key=lambda site: _draw(campaign, site))
    last = sorted(set(sites) & set(unwilling), key=lambda site: _draw(campaign, site))
    if not willing:
        raise Conflict(
            "each of these sites asked never to be a canary; let one go first, or name the rings yourself"
        )
    total = len(willing) + len(last)
    found, before = [], 0
    for share in shares[:-1]:
        upto = min(max(1, math.ceil(share * total - 1e-9)), len(willing))
        found.append(tuple(willing[before:upto]))
        before = max(before, upto)
    found.append((*willing[before:], *last))
    return tuple(ring for ring in found if ring)


def named(
    lists: Sequence[Sequence[str]], *, eligible: Collection[str], unwilling: Collection[str]
) -> tuple[tuple[str, ...], ...]:
    """Rings as a person named them; raises `BadInput` and `Conflict` where they cannot be."""
    flat = [site for ring in lists for site in ring]
    if not flat or any(not ring for ring in lists):
        raise BadInput("each ring needs at least one site")
    if twice := sorted({site for site in flat if flat.count(site) > 1}):
        raise BadInput(f"a site can be in one ring only: {', '.join(twice)}")
    if foreign := sorted(set(flat) - set(eligible)):
        raise Conflict(f"the version may not run at {', '.join(foreign)}")
    early = {site for ring in lists[:-1] for site in ring}
    if asked := sorted(early & set(unwilling)):
        raise Conflict(f"asked never to be a canary, so only the last ring may have: {', '.join(asked)}")
    return tuple(tuple(ring) for ring in lists)


def _draw(campaign: str, site: str) -> bytes:
    return hashlib.sha256(f"{campaign}/{site}".encode()).digest()
