"""A model file over HTTPS from the real cloud application: resumed, checked, and MQTT where it fails."""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import uvicorn

from cloud import app as cloud_app
from cloud.identity.authority import Authority
from cloud.models.service import Built, register
from cloud.rollouts.schemas import RolloutRequest
from cloud.rollouts.service import make
from cloud.training.report import Candidate
from edge_agent.agent.identity.pair import key_pem
from edge_agent.agent.inference.fetch import Fetch
from edge_agent.agent.inference.https import RETRY_S, BlobHttp, ticket_of
from edge_agent.config import Uplink
from edge_agent.config.agent_checks import _why_not
from shared.artifacts.manifest import Manifest, Stage
from shared.artifacts.signing import Signed
from shared.clock import ManualClock, SystemClock
from shared.wire.envelope import CHUNK_BYTES
from support.agent import make_assignment, make_manifest, small_spec
from support.cloud import NOW_MS, SITE, TOKEN, Service, born, service
from support.identity import DAY_MS, new_key
from support.model_bench import DATA, V1, give, life
from support.model_bench import running as running_versions
from support.ports import free_port

pytestmark = pytest.mark.slow
MODEL = bytes(range(256)) * 2_000  # four chunks, the last not full


def papers() -> Manifest:
    return make_manifest(MODEL, small_spec(), version=0)


@asynccontextmanager
async def served(
    running: Service, *, tls: "Papers | None" = None, client_certificate: bool = False
) -> AsyncIterator[str]:
    """The cloud's application on a real socket of this machine; over TLS with these papers."""
    port = free_port()
    application = cloud_app.make_app(running.context, token=TOKEN)
    settings = uvicorn.Config(application, host="127.0.0.1", port=port, lifespan="off", log_config=None)
    if tls is not None:
        settings.ssl_certfile, settings.ssl_keyfile = str(tls.certificate), str(tls.key)
        settings.ssl_ca_certs = str(tls.ca)
        settings.ssl_cert_reqs = ssl.CERT_REQUIRED if client_certificate else ssl.CERT_NONE
    server = uvicorn.Server(settings)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Service]:
    (tmp_path / "cloud").mkdir()
    async with service(tmp_path / "cloud") as made:
        await made.bench.commit(born())
        context = made.context
        await context.blobs.put(MODEL)
        built = Built(
            candidate=Candidate(algorithm="pca", accepted=True, detail=""), draft=papers(), chosen=True
        )
        async with context.database.write() as session:
            await register(
                session, [built], site=SITE, job="j", keys=context.keys, now_ms=NOW_MS, life_days=365
            )
        yield made


async def assigned(running: Service) -> Signed:
    context = running.context
    async with context.database.write() as session:
        body = RolloutRequest(site=SITE, name="miner-anomaly", version=1, stage=Stage.SHADOW)
        row = await make(session, body, context.keys, NOW_MS, 90)
        return msgspec.msgpack.decode(row.signed, type=Signed)


def client(url: str) -> tuple[BlobHttp, ManualClock]:
    clock = ManualClock()
    return BlobHttp(Uplink(broker_host="127.0.0.1", broker_port=1, model_url=url), clock), clock


def _folder(base: Path) -> Path:
    (base / "incoming").mkdir()
    return base / "incoming"


def never() -> bool:
    return False


async def test_a_download_takes_up_where_it_was_cut_off(running: Service, tmp_path: Path) -> None:
    signed, folder = await assigned(running), tmp_path / "incoming"
    folder.mkdir()
    async with served(running) as url:
        http, _clock = client(url)
        fetch = Fetch(folder, papers())
        tries = iter([False, False, True])
        assert await http.fill(fetch, signed, stop=lambda: next(tries)) == 2
        again = Fetch(folder, papers())  # the agent was killed here
        assert again.missing == [2, 3]
        assert await http.fill(again, signed, stop=never) == 2
        assert again.assemble() == MODEL
        assert http.failures == 0


async def test_without_a_ticket_or_a_cloud_it_stops_and_tries_again_later(
    running: Service, tmp_path: Path
) -> None:
    first, signed = await assigned(running), await assigned(running)
    folder = tmp_path / "incoming"
    folder.mkdir()
    async with served(running) as url:
        http, clock = client(url)
        fetch = Fetch(folder, papers())
        assert await http.fill(fetch, first, stop=never) == 0, "superseded: 401"
        assert http.failures == 1
        assert await http.fill(fetch, signed, stop=never) == 0, "it waits"
        assert http.failures == 1
        clock.advance(RETRY_S + 1)
        assert await http.fill(fetch, signed, stop=never) == fetch.total
    nobody, _clock = client(f"http://127.0.0.1:{free_port()}")
    (tmp_path / "other").mkdir()
    assert await nobody.fill(Fetch(tmp_path / "other", papers()), signed, stop=never) == 0
    assert nobody.failures == 1


class Liar:
    """A server that answers with whatever it is told to."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answer(data: bytes, *, status: str = "206 Partial", digest: bytes | None = None, **more: str) -> bytes:
    value = base64.b64encode(digest if digest is not None else hashlib.sha256(data).digest()).decode()
    headers = {
        "Content-Length": str(len(data)),
        "Content-Range": f"bytes 0-{CHUNK_BYTES - 1}/{len(MODEL)}",
        "Content-Digest": f"sha-256=:{value}:",
    } | {name.replace("_", "-"): text for name, text in more.items()}
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + data


FIRST = MODEL[:CHUNK_BYTES]


@pytest.mark.parametrize(
    "said",
    [
        answer(FIRST, status="200 OK"),
        answer(FIRST, status="302 Found", Location="http://127.0.0.1:1/"),
        answer(FIRST, digest=b"x" * 32),
        answer(FIRST, Content_Digest="sha-256=:!:"),
        answer(FIRST, Content_Digest="md5=:AAAA:"),
        answer(FIRST, Content_Range=f"bytes 1-{CHUNK_BYTES}/{len(MODEL)}"),
        answer(FIRST[:-1]),
        answer(FIRST + b"more"),
        answer(FIRST, Content_Length=str(len(FIRST) + 9)),
        b"no http at all\r\n\r\n",
    ],
    ids=[
        "whole",
        "redirect",
        "digest",
        "digest-form",
        "digest-kind",
        "range",
        "short",
        "long",
        "cut",
        "noise",
    ],
)
async def test_what_a_server_may_not_answer(running: Service, tmp_path: Path, said: bytes) -> None:
    signed = await assigned(running)
    async with Liar(said).serve() as url:
        http, _clock = client(url)
        fetch = Fetch(_folder(tmp_path), papers())
        assert await http.fill(fetch, signed, stop=never) == 0
        assert http.failures == 1
        assert len(fetch.missing) == fetch.total


async def test_a_server_that_tells_the_truth_passes_the_same_test(running: Service, tmp_path: Path) -> None:
    signed = await assigned(running)
    async with Liar(answer(FIRST)).serve() as url:
        http, _clock = client(url)
        fetch = Fetch(_folder(tmp_path), papers())
        assert await http.fill(fetch, signed, stop=never) == 1, "the second chunk gets the first one's range"
        assert fetch.missing == [1, 2, 3]


async def test_where_https_fails_the_chunks_come_over_mqtt(tmp_path: Path) -> None:
    async with life(tmp_path) as b:
        await b.steps(2)
        http, _clock = client(f"http://127.0.0.1:{free_port()}")
        b.keeper._intake._http = http
        await give(b, make_assignment(V1), DATA)
        assert running_versions(b) == (None, 1)
        assert http.failures == 1
        downloaded = next(e for e in b.events() if e.data.get("state") == "downloaded")
        assert "1 of 1 chunks mqtt" in str(downloaded.data["detail"])


# ---------------------------------------------------------------- TLS


class Papers:
    """A site's own authority, the cloud's certificate under it, and the gateway's pair."""

    def __init__(self, folder: Path) -> None:
        self.now_ms = SystemClock().utc_ms()
        self.folder = folder
        self.authority = Authority.create("Test CA", self.now_ms - DAY_MS)
        self.ca = folder / "ca.crt"
        self.ca.write_text(self.authority.pem)
        self.certificate, self.key = self.pair("server", hosts=("127.0.0.1",))
        self.site = self.pair(SITE)

    def pair(self, name: str, *, hosts: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """A certificate and its key, as files: a server's where hosts are given, else a client's."""
        key = new_key()
        made = self.authority.issue(name, key.public_key(), self.now_ms, days=90, hosts=hosts)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_text(made.pem)
        files[1].write_bytes(key_pem(key))
        return files


@pytest.fixture
def papers_of_site(tmp_path: Path) -> Papers:
    (tmp_path / "tls").mkdir()
    return Papers(tmp_path / "tls")


def tls_client(url: str, ca: Path | None, pair: tuple[Path, Path] | None = None) -> BlobHttp:
    uplink = Uplink(
        broker_host="127.0.0.1",
        broker_port=1,
        model_url=url,
        ca_file=None if ca is None else str(ca),
        cert_file=None if pair is None else str(pair[0]),
        key_file=None if pair is None else str(pair[1]),
    )
    return BlobHttp(uplink, ManualClock())


@pytest.mark.parametrize("presented", [False, True], ids=["no-client-certificate", "client-certificate"])
async def test_with_the_sites_own_authority_the_model_comes_over_tls(
    running: Service,
    tmp_path: Path,
    papers_of_site: Papers,
    presented: bool,
) -> None:
    signed, at = await assigned(running), papers_of_site
    async with served(running, tls=at, client_certificate=presented) as url:
        assert url.startswith("https://")
        http = tls_client(url, at.ca, at.site if presented else None)
        fetch = Fetch(_folder(tmp_path), papers())
        assert await http.fill(fetch, signed, stop=never) == fetch.total
        assert (fetch.assemble(), http.failures) == (MODEL, 0)


async def test_a_server_that_asks_for_a_client_certificate_serves_nobody_without(
    running: Service, tmp_path: Path, papers_of_site: Papers
) -> None:
    signed, at = await assigned(running), papers_of_site
    async with served(running, tls=at, client_certificate=True) as url:
        fetch = Fetch(_folder(tmp_path), papers())
        http = tls_client(url, at.ca)
        assert await http.fill(fetch, signed, stop=never) == 0
        assert (http.failures, len(fetch.missing)) == (1, fetch.total)


class Listener:
    """A server that keeps what the first words to it were, inside TLS where it has a certificate."""

    def __init__(self, tls: Papers | None) -> None:
        self._tls = tls
        self.got = b""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        talks: list[asyncio.Task[None] | None] = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talks.append(asyncio.current_task())
            while part := await reader.read(65_536):
                self.got += part
                if not self.got.startswith(b"GET ") or b"\r\n\r\n" in self.got:
                    break
            writer.close()

        context = None if self._tls is None else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if context is not None and self._tls is not None:
            context.load_cert_chain(self._tls.certificate, self._tls.key)
        server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
        async with server:
            yield int(server.sockets[0].getsockname()[1])
        await asyncio.gather(*(talk for talk in talks if talk is not None))


@pytest.mark.parametrize("case", ["sound", "foreign-authority", "no-authority", "foreign-name", "no-tls"])
async def test_a_server_that_is_not_the_clouds_is_told_nothing(
    running: Service, tmp_path: Path, papers_of_site: Papers, case: str
) -> None:
    """The ticket is a secret of the site: it goes to nobody who has not proved who they are."""
    signed, at = await assigned(running), papers_of_site
    (tmp_path / "other").mkdir()
    ca: Path | None = at.ca
    if case == "foreign-authority":
        ca = Papers(tmp_path / "other").ca
    if case == "no-authority":
        ca = None
    if case == "foreign-name":
        at.certificate, at.key = at.pair("elsewhere", hosts=("cloud.example",))
    listener = Listener(None if case == "no-tls" else at)
    async with listener.serve() as port:
        http = tls_client(f"https://127.0.0.1:{port}", ca, at.site)
        fetch = Fetch(_folder(tmp_path), papers())
        assert await http.fill(fetch, signed, stop=never) == 0
        assert (http.failures, len(fetch.missing)) == (1, fetch.total)
    told = case == "sound"  # the same listener, so that silence is no accident of it
    assert (ticket_of(signed).encode() in listener.got) is told
    assert (b"GET /api/v1/blobs/" in listener.got) is told


def test_a_site_file_that_asks_for_models_in_the_clear_is_refused() -> None:
    assert "use https" in _why_not("http://cloud.example")
    assert "use https" in _why_not("http://10.0.0.9:8000")
    assert _why_not("https://cloud.example") == _why_not("http://127.0.0.1:8000") == ""
