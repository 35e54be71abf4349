"""The items of a `pools` reply as cgminer's descendants print them; they differ in the first number."""

from firmware_adapters.miners.emulated import MinerView

Json = dict[str, object]


def pools(view: MinerView, now_s: int, *, first: int) -> list[Json]:
    """All pools of a machine, numbered from `first`; the time of the last share is unix seconds."""
    own: Json = {
        "POOL": first,
        "URL": view.pool_url,
        "User": view.pool_user,
        "Status": "Alive",
        "Stratum Active": view.pool == 0,
        "Accepted": view.shares_accepted,
        "Rejected": view.shares_rejected,
        "Stale": view.shares_stale,
    }
    if view.last_share_age_s is not None:
        own["Last Share Time"] = round(now_s - view.last_share_age_s)
    others: list[Json] = [
        {
            "POOL": first + number,
            "URL": pool.url,
            "User": pool.user,
            "Status": "Alive" if pool.alive else "Dead",
            "Stratum Active": view.pool == number,
            "Accepted": pool.shares_accepted,
            "Rejected": pool.shares_rejected,
            "Stale": pool.shares_stale,
        }
        for number, pool in enumerate(view.other_pools, 1)
    ]
    return [own, *others]
