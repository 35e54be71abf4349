"""The limit on open files, raised as far as it goes, and said where that is not far enough."""

import resource

import pytest

from edge_agent.guardian.polling.open_files import raise_limit, too_few


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is in force, newest last; starts at 1024 of 4096."""
    found = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: found[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: found.append(pair))
    return found


def test_the_soft_limit_follows_the_hard_one(limits: list[tuple[int, int]]) -> None:
    assert raise_limit() == 4096
    assert limits[-1] == (4096, 4096)
    assert raise_limit() == 4096


def test_a_system_that_refuses_keeps_its_limit(
    limits: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_which: int, _pair: tuple[int, int]) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == 1024


def test_a_sentence_where_it_is_too_low() -> None:
    assert too_few(4096, 1000) is None
    assert too_few(resource.RLIM_INFINITY, 100_000) is None
    words = too_few(1024, 5000)
    assert words is not None
    assert "1024" in words
    assert "5512" in words
