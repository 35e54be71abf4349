"""What a trial of a new pair makes of each answer; with a real broker: tests/integration/identity."""

import asyncio
import ssl
from pathlib import Path

import pytest

from cloud.identity.authority import Authority
from edge_agent.agent.identity import trial
from edge_agent.agent.identity.pair import key_pem
from edge_agent.agent.identity.trial import Trial, try_pair
from edge_agent.config import Uplink
from shared.clock import SystemClock
from support.identity import DAY_MS, new_key, pair_for
from support.ports import free_port


class Desk:
    """Files of a gateway, and a TLS server that answers as it is told."""

    def __init__(self, folder: Path) -> None:
        now_ms = SystemClock().utc_ms()
        authority = Authority.create("Test CA", now_ms - DAY_MS)
        self.pair = folder / "next.pem"
        self.pair.write_bytes(pair_for(authority, "north", now_ms).pem())
        self.ca = folder / "ca.pem"
        self.ca.write_text(authority.pem)
        key = new_key()
        made = authority.issue("localhost", key.public_key(), now_ms, days=1, hosts=("localhost",))
        server = folder / "server.pem"
        server.write_bytes(made.pem.encode() + key_pem(key))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server)
        self.context.load_verify_locations(self.ca)
        self.context.verify_mode = ssl.CERT_REQUIRED

    async def ask(self, answer: bytes | None, *, listens: bool = True) -> tuple[Trial, str]:
        """None: the server says nothing at all. `listens`: it answers only what it was asked."""
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if listens:
                heard.append(await reader.read(64))
            if answer is not None:
                writer.write(answer)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.context)
        try:
            return await try_pair(self.uplink(server.sockets[0].getsockname()[1]), self.pair)
        finally:
            server.close()

    def uplink(self, port: int) -> Uplink:
        return Uplink(broker_host="localhost", broker_port=port, ca_file=str(self.ca))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(trial, "_ALERT_S", 0.05)
    monkeypatch.setattr(trial, "_TIMEOUT_S", 1.0)
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"\x20\x02\x00\x01", Trial.TAKEN),  # a CONNACK: unacceptable protocol version
        (b"", Trial.TAKEN),  # hung up on the question, as MQTT allows; a refusal would have been an alert
        (b"HTTP/1.1 400 Bad Request\r\n", Trial.UNKNOWN),
        (None, Trial.UNKNOWN),
    ],
)
async def test_an_answer_to_the_question_means_that_tls_was_taken(
    desk: Desk, answer: bytes | None, word: Trial
) -> None:
    assert (await desk.ask(answer))[0] is word


async def test_an_authority_that_the_other_side_does_not_know_is_a_refusal(desk: Desk) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(desk.pair)
    stranger.verify_mode = ssl.CERT_REQUIRED
    desk.context = stranger
    assert (await desk.ask(b""))[0] is Trial.REFUSED


async def test_a_server_that_hangs_up_unasked_has_said_nothing(desk: Desk) -> None:
    """A broker at its limit of connections, or something in between: no word about the certificate."""
    assert (await desk.ask(b"", listens=False))[0] is Trial.UNKNOWN


async def test_nobody_there_is_unknown_and_a_damaged_pair_is_refused(desk: Desk) -> None:
    word, sentence = await try_pair(desk.uplink(free_port()), desk.pair)
    assert (word, "could not be asked" in sentence) == (Trial.UNKNOWN, True)
    desk.pair.write_text("damaged")
    word, sentence = await try_pair(desk.uplink(free_port()), desk.pair)
    assert (word, "cannot be loaded" in sentence) == (Trial.REFUSED, True)
