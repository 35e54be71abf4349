"""Chunks: in any order, twice, damaged, foreign, or from an earlier life; the file is right or refused."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.inference.fetch import WINDOW, Fetch
from shared.artifacts.manifest import MAX_MODEL_BYTES, Manifest
from shared.errors import ArtifactError
from shared.wire.envelope import CHUNK_BYTES, Chunk
from support.agent import make_manifest, small_spec

DATA = bytes(range(256)) * 1_300  # 332,800 bytes: three chunks, the last one short


def manifest(data: bytes = DATA, **changes: object) -> Manifest:
    return make_manifest(data, small_spec(), **changes)


def chunk(index: int, whole: bytes = DATA, **changes: object) -> Chunk:
    part = whole[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
    fields: dict[str, object] = {
        "sha256": hashlib.sha256(whole).hexdigest(),
        "number": index,
        "total": -(-len(whole) // CHUNK_BYTES),
        "chunk_sha256": hashlib.sha256(part).hexdigest(),
        "data": part,
    }
    return Chunk(**(fields | changes))


@given(order=st.lists(st.integers(0, 2), min_size=3, max_size=9).filter(lambda o: set(o) == {0, 1, 2}))
def test_any_order_and_repetition_gives_the_file(
    order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    fetch = Fetch(tmp_path_factory.mktemp("in"), manifest())
    for number in order:
        fetch.take(chunk(number))
    assert fetch.request() is None
    assert fetch.assemble() == DATA
    assert fetch.bad == 0


def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Fetch(tmp_path, manifest())
    assert first.take(chunk(1))
    again = Fetch(tmp_path, manifest())
    request = again.request()
    assert request is not None
    assert request.chunks == (0, 2)


@pytest.mark.parametrize(
    "bad",
    [
        chunk(1, chunk_sha256="0" * 64),
        chunk(1, data=b"short", chunk_sha256=hashlib.sha256(b"short").hexdigest()),
        chunk(1, number=7),
        chunk(1, number=-1),
        chunk(1, total=9),
    ],
)
def test_a_damaged_chunk_is_counted_and_asked_for_again(tmp_path: Path, bad: Chunk) -> None:
    fetch = Fetch(tmp_path, manifest())
    assert not fetch.take(bad)
    assert fetch.bad == 1
    assert 1 in fetch.missing


def test_a_chunk_of_another_file_is_none_of_ours(tmp_path: Path) -> None:
    fetch = Fetch(tmp_path, manifest())
    assert not fetch.take(chunk(0, DATA[::-1]))
    assert fetch.bad == 0


def test_right_chunks_of_a_wrong_file_are_thrown_away_whole(tmp_path: Path) -> None:
    """Chunk hashes come with the chunks; only the manifest's hash is signed."""
    lying = manifest()
    fetch = Fetch(tmp_path, lying)
    other = DATA[::-1]
    for number in range(3):
        assert fetch.take(chunk(number, other, sha256=lying.sha256))
    with pytest.raises(ArtifactError, match="hash"):
        fetch.assemble()
    assert Fetch(tmp_path, lying).missing == [0, 1, 2]


def test_a_superseded_download_is_removed(tmp_path: Path) -> None:
    Fetch(tmp_path, manifest()).take(chunk(0))
    Fetch(tmp_path, manifest(DATA[::-1]))
    assert len(list(tmp_path.iterdir())) == 1


def test_requests_are_windows(tmp_path: Path) -> None:
    big = manifest(size=CHUNK_BYTES * 40)
    request = Fetch(tmp_path, big).request()
    assert request is not None
    assert len(request.chunks) == WINDOW


@pytest.mark.parametrize("size", [0, -1, MAX_MODEL_BYTES + 1])
def test_an_impossible_size_is_refused_before_anything_is_asked(tmp_path: Path, size: int) -> None:
    with pytest.raises(ArtifactError):
        Fetch(tmp_path, manifest(size=size))
