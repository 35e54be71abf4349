"""Who goes first: by hash, the same every time, and whoever asked not to be tried comes last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.problems import BadInput, Conflict
from cloud.rollouts.campaigns.choose import named, rings
from cloud.rollouts.campaigns.plan import SHARES

TEN = [f"site-{number}" for number in range(10)]


def sizes(found: tuple[tuple[str, ...], ...]) -> list[int]:
    return [len(ring) for ring in found]


def test_ten_sites_go_by_one_three_five_and_ten() -> None:
    found = rings("c", TEN, unwilling=(), shares=SHARES)
    assert sizes(found) == [1, 2, 2, 5]
    assert sorted(site for ring in found for site in ring) == TEN


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (100, [10, 20, 20, 50])]
)
def test_small_and_large_fleets(count: int, expected: list[int]) -> None:
    assert sizes(rings("c", [f"s{n}" for n in range(count)], unwilling=(), shares=SHARES)) == expected


def test_other_campaigns_try_other_sites_first() -> None:
    first = {rings(f"campaign-{number}", TEN, unwilling=(), shares=SHARES)[0] for number in range(50)}
    assert len(first) > 5


@given(
    st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=40),
    st.data(),
    st.text(max_size=5),
)
def test_every_site_once_the_unwilling_last_and_always_the_same(
    sites: set[str], data: st.DataObject, campaign: str
) -> None:
    unwilling = data.draw(st.sets(st.sampled_from(sorted(sites))))
    if unwilling == sites:
        with pytest.raises(Conflict):
            rings(campaign, sites, unwilling=unwilling, shares=SHARES)
        return
    found = rings(campaign, sites, unwilling=unwilling, shares=SHARES)
    assert sorted(site for ring in found for site in ring) == sorted(sites)
    assert all(found)
    assert not unwilling & {site for ring in found[:-1] for site in ring}
    assert rings(campaign, sorted(sites, reverse=True), unwilling=unwilling, shares=SHARES) == found
    if len(found) > 1:
        assert len(found[0]) <= max(1, -(-len(sites) // 10))


@pytest.mark.parametrize("shares", [[], [0.5], [0.5, 0.1, 1], [0.1, 0.1, 1], [0, 1], [-0.1, 1], [0.5, 1.5]])
def test_shares_that_mean_nothing(shares: list[float]) -> None:
    with pytest.raises(BadInput):
        rings("c", TEN, unwilling=(), shares=shares)


def test_rings_by_name() -> None:
    assert named([["a"], ["b", "c"]], eligible="abc", unwilling="c") == (("a",), ("b", "c"))
    with pytest.raises(BadInput, match="in one ring only: a"):
        named([["a"], ["a"]], eligible="ab", unwilling="")
    with pytest.raises(BadInput):
        named([["a"], []], eligible="ab", unwilling="")
    with pytest.raises(Conflict, match="may not run at z"):
        named([["z"]], eligible="ab", unwilling="")
    with pytest.raises(Conflict, match="never to be a canary"):
        named([["a"], ["b"]], eligible="ab", unwilling="a")
