"""The committed report on mutants is of this core, good enough, explains every survivor and hides nothing."""

import pytest

from safety.mutation import core, report
from safety.mutation.report import Report


@pytest.fixture(scope="module")
def committed() -> Report:
    return report.read()


def test_it_is_of_the_present_core(committed: Report) -> None:
    present = core.digest(core.sources())
    assert committed.core_sha256 == present, (
        "docs/mutants.json is of another state of the core: run `make mutants`, look at the survivors, "
        "and commit docs/mutants.json and docs/mutants.md"
    )


def test_it_counts_every_file_and_every_mutant_of_the_core(committed: Report) -> None:
    silent = {path for path in core.sources() if path.endswith("__init__.py")}
    assert set(committed.files) | silent == set(core.sources())
    entries = committed.files.values()
    assert committed.mutants == sum(entry.mutants for entry in entries)
    assert committed.run == sum(entry.mutants - entry.not_run for entry in entries)
    assert committed.killed == sum(entry.killed for entry in entries)
    assert all(entry.mutants == entry.killed + entry.survived + entry.not_run for entry in entries)


def test_at_least_95_percent_of_what_ran_are_killed(committed: Report) -> None:
    assert 100.0 * committed.killed >= 95.0 * committed.run
    assert len(committed.survivors) == committed.run - committed.killed


def test_every_survivor_has_a_reason(committed: Report) -> None:
    assert [entry for entry in committed.survivors if entry.why == report.NO_REASON] == []


def test_the_readable_report_is_made_from_the_same_numbers_and_says_what_did_not_run(
    committed: Report,
) -> None:
    assert report.MARKDOWN.read_text() == report.as_markdown(committed)
    assert ("Not complete" in report.MARKDOWN.read_text()) is (committed.run < committed.mutants)
