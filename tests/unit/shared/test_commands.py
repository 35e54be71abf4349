"""The one mapping from write results to an outcome."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.commands import ActionOutcome, WriteResult, outcome_of

A, R, U, N, C = (
    WriteResult.APPLIED,
    WriteResult.REJECTED,
    WriteResult.UNSUPPORTED,
    WriteResult.UNREACHABLE,
    WriteResult.UNCONFIRMED,
)


@pytest.mark.parametrize(
    ("results", "outcome"),
    [
        ([], ActionOutcome.REJECTED),
        ([A, A], ActionOutcome.APPLIED),
        ([A, C], ActionOutcome.PARTIAL),
        ([A, N], ActionOutcome.PARTIAL),
        ([C, N], ActionOutcome.UNCONFIRMED),
        ([R, U], ActionOutcome.REJECTED),
        ([N], ActionOutcome.FAILED),
        ([R, N], ActionOutcome.FAILED),
    ],
)
def test_table(results: list[WriteResult], outcome: ActionOutcome) -> None:
    assert outcome_of(results) is outcome


@given(st.lists(st.sampled_from(WriteResult), min_size=1))
def test_applied_only_when_every_write_was(results: list[WriteResult]) -> None:
    assert (outcome_of(results) is ActionOutcome.APPLIED) == all(r is A for r in results)


@given(st.lists(st.sampled_from(WriteResult), min_size=1))
def test_order_does_not_matter(results: list[WriteResult]) -> None:
    assert outcome_of(results) is outcome_of(results[::-1])
