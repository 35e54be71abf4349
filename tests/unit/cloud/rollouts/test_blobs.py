"""Model files over HTTPS: only for the site whose newest assignment names them, whole or in parts."""

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from cloud.models.service import Built, register
from cloud.rollouts.schemas import RolloutRequest
from cloud.rollouts.service import make
from cloud.tables import CertificateRow
from cloud.training.report import Candidate
from shared.artifacts.manifest import Stage
from shared.artifacts.signing import Signed
from support.cloud import NOW_MS, SITE, Service, born, service
from support.manifests import draft

MODEL = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(MODEL).hexdigest()
URL = f"/api/v1/blobs/{SHA256}"


async def assigned(running: Service, stage: Stage = Stage.SHADOW, life_days: float = 90.0) -> str:
    """The ticket of a new assignment."""
    context = running.context
    async with context.database.write() as session:
        body = RolloutRequest(site=SITE, name="miner-anomaly", version=1, stage=stage)
        row = await make(session, body, context.keys, NOW_MS, life_days)
        signed = msgspec.msgpack.decode(row.signed, type=Signed)
        signature = base64.urlsafe_b64encode(signed.signatures[0].value).decode().rstrip("=")
        return f"Assignment {SITE}.{row.counter}.{signature}"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Service]:
    async with service(tmp_path) as made:
        await made.bench.commit(born())
        context = made.context
        await context.blobs.put(MODEL)
        built = Built(
            candidate=Candidate(algorithm="pca", accepted=True, detail=""), draft=draft(MODEL), chosen=True
        )
        async with context.database.write() as session:
            await register(
                session, [built], site=SITE, job="j", keys=context.keys, now_ms=NOW_MS, life_days=365
            )
        yield made


async def status(running: Service, ticket: str, url: str = URL, **headers: str) -> int:
    answer = await running.client.get(url, headers={"Authorization": ticket, **headers})
    return answer.status_code


async def test_a_part_comes_with_its_range_and_its_digest(running: Service) -> None:
    headers = {"Authorization": await assigned(running), "Range": "bytes=1000-1999"}
    answer = await running.client.get(URL, headers=headers)
    assert answer.status_code == 206
    assert answer.content == MODEL[1000:2000]
    assert answer.headers["Content-Range"] == f"bytes 1000-1999/{len(MODEL)}"
    digest = base64.b64encode(hashlib.sha256(MODEL[1000:2000]).digest()).decode()
    assert answer.headers["Content-Digest"] == f"sha-256=:{digest}:"
    assert answer.headers["Cache-Control"] == "private, no-store"


async def test_the_last_part_is_what_is_left_and_the_whole_needs_no_range(running: Service) -> None:
    ticket = await assigned(running)
    for range_ in (f"bytes={len(MODEL) - 5}-", f"bytes={len(MODEL) - 5}-{len(MODEL) + 100}"):
        answer = await running.client.get(URL, headers={"Authorization": ticket, "Range": range_})
        assert answer.content == MODEL[-5:]
        assert answer.headers["Content-Range"] == f"bytes {len(MODEL) - 5}-{len(MODEL) - 1}/{len(MODEL)}"
    whole = await running.client.get(URL, headers={"Authorization": ticket})
    assert (whole.status_code, whole.content) == (200, MODEL)


@pytest.mark.parametrize(
    "range_", ["bytes=5-4", "bytes=-5", "bytes=0-1,4-5", "lines=0-1", f"bytes={len(MODEL)}-", "bytes=9" * 50]
)
async def test_a_range_that_means_nothing_is_named(running: Service, range_: str) -> None:
    assert await status(running, await assigned(running), Range=range_) == 422


async def test_who_may_not_fetch_gets_nothing(running: Service) -> None:
    first = await assigned(running)
    assert await status(running, first) == 200
    site, counter, signature = first.removeprefix("Assignment ").rsplit(".", 2)
    for ticket in (
        "",
        "Assignment",
        "Bearer " + "x" * 40,
        f"Assignment {site}.{counter}.",
        f"Assignment {site}.{counter}.{signature[1:]}{signature[0]}",
        f"Assignment elsewhere.{counter}.{signature}",
        f"Assignment {site}.{int(counter) + 1}.{signature}",
        f"Assignment {site}.{'9' * 40}.{signature}",
        f"Assignment {site}.x.{signature}",
    ):
        assert await status(running, ticket) == 401, ticket
    assert await status(running, first, f"/api/v1/blobs/{'0' * 64}") == 403
    assert await status(running, first, "/api/v1/blobs/..%2Fsecret") in (404, 422)
    second = await assigned(running)
    assert await status(running, first) == 401, "a newer assignment ends the ticket of the one before"
    assert await status(running, second) == 200


async def test_a_site_whose_certificates_are_all_revoked_is_shut_out_here_too(running: Service) -> None:
    ticket = await assigned(running)

    async def add(serial: str, revoked_ms: int | None) -> None:
        async with running.context.database.write() as session:
            session.add(
                CertificateRow(
                    serial=serial,
                    name=SITE,
                    role="site",
                    sites=[],
                    fingerprint="f",
                    pem="p",
                    how="enrolled",
                    actor="ada",
                    not_before_ms=0,
                    not_after_ms=2**40,
                    issued_ms=0,
                    revoked_ms=revoked_ms,
                    reason="",
                )
            )

    await add("1", NOW_MS)
    assert await status(running, ticket) == 403
    await add("2", None)
    assert await status(running, ticket) == 200, "it was enrolled anew"


async def test_a_withdrawn_or_expired_assignment_opens_nothing(running: Service) -> None:
    assert await status(running, await assigned(running, life_days=0.0)) == 403
    assert await status(running, await assigned(running, stage=Stage.WITHDRAWN)) == 403
