"""Merging register spans: everything covered, nothing too long, no gap wider than allowed."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.modbus_plan import Span, Table, merge_spans


def test_adjacent_float_registers_become_one_read() -> None:
    spans = [Span(Table.INPUT, address, 2) for address in (0, 2, 4, 6)]
    assert merge_spans(spans, gap=0, max_registers=80, max_bits=0) == (Span(Table.INPUT, 0, 8),)


def test_a_gap_is_read_over_only_up_to_the_limit() -> None:
    spans = [Span(Table.HOLDING, 0, 1), Span(Table.HOLDING, 5, 1), Span(Table.HOLDING, 20, 1)]
    assert merge_spans(spans, gap=4, max_registers=80, max_bits=0) == (
        Span(Table.HOLDING, 0, 6),
        Span(Table.HOLDING, 20, 1),
    )


def test_tables_never_mix() -> None:
    spans = [Span(Table.INPUT, 0, 1), Span(Table.HOLDING, 1, 1)]
    assert len(merge_spans(spans, gap=10, max_registers=80, max_bits=8)) == 2


spans_ = st.builds(Span, st.sampled_from(list(Table)), st.integers(0, 300), st.integers(1, 4))


@given(st.lists(spans_, max_size=60), st.integers(0, 20), st.integers(4, 125), st.integers(4, 64))
def test_merged_reads_cover_all_and_respect_the_limits(
    spans: list[Span], gap: int, max_registers: int, max_bits: int
) -> None:
    merged = merge_spans(spans, gap=gap, max_registers=max_registers, max_bits=max_bits)
    assert len(merged) <= len(set(spans))
    for span in spans:
        assert any(read.covers(span) for read in merged)
    for read in merged:
        assert read.count <= (max_bits if read.table.is_bits else max_registers)
        inside = sorted(span for span in spans if read.covers(span))
        reached = read.address
        for span in inside:
            assert span.address - reached <= gap
            reached = max(reached, span.end)
        assert reached == read.end
