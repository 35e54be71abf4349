"""Cloud, broker, agent, guardian and an emulated site as processes, with a hand on the command topics."""

import asyncio
import contextlib
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.commands import AnyOrder, CommandBody, CommandStatus
from shared.ids import CommandId, SiteId
from shared.wire import codec, topics
from support import command_guardian
from support.cloud import TOKEN
from support.cloud_broker import Broker, broker
from support.cloud_process import CloudProcess
from support.guardian import KEYS, SITE
from support.processes import ProcessSite

MINERS = 3
ACME = SigningKey.generate("acme-1")
"""A third party: it may stop and start m-1 and m-2."""
ACME_MAY = ("stop", "start", "cancel", "renew", "curtail")
ACME_REACHES = ("m-1", "m-2")


class CommandSite(ProcessSite):
    """A site whose guardian can be told that its clock is not synchronised."""

    def start_guardian(self) -> None:
        command = [command_guardian.__file__, str(self.clock_file), "run"]
        self.guardian = self._run(command, shape=self.around_guardian)

    @property
    def unsynchronised(self) -> Path:
        """While this file is there the clock is not synchronised."""
        return self.clock_file.with_name(command_guardian.FLAG)


class Client:
    """Somebody on the broker: writes where told, and keeps what the site says about commands."""

    def __init__(self, port: int) -> None:
        self.words: queue.Queue[CommandStatus] = queue.Queue()
        self._ready: queue.Queue[str] = queue.Queue()
        client = self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.on_connect = lambda c, *_: c.subscribe(f"mw/1/{SITE}/up/res/#", qos=1)
        client.on_subscribe = lambda *_: self._ready.put("subscribed")
        client.on_message = lambda _c, _d, m: self.words.put(codec.decode(bytes(m.payload), CommandStatus))
        client.connect("127.0.0.1", port)
        client.loop_start()
        self._ready.get(timeout=10)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def word(self, command: str, *states: str, within_s: float = 30.0) -> CommandStatus:
        """The next word on this command in one of these states; others are passed over."""
        until = time.monotonic() + within_s
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                status = self.words.get(timeout=left)
                if status.id == command and (not states or status.state in states):
                    return status
        raise AssertionError(f"no word {states} on {command} within {within_s:.0f} s")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class CommandWorld:
    """Everything between a click and a read-back."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.broker = broker
        self.folder = folder
        for role in (Role.COMMAND, Role.ASSIGNMENT, Role.RELEASE):
            KEYS[role].save(folder / role.value)
        self.cloud = CloudProcess(folder, broker.port)
        site_folder = folder / "site"
        site_folder.mkdir()
        self.site = CommandSite(site_folder, miners=MINERS)
        path = site_folder / "site.toml"
        text = path.read_text()
        assert '"broker_port" = 1883' in text or "broker_port = 1883" in text
        path.write_text(text.replace("broker_port = 1883", f"broker_port = {broker.port}"))
        acme = PublicKeyEntry(
            id=ACME.key_id, role=Role.CONTROL, public=ACME.public_text, may=ACME_MAY, devices=ACME_REACHES
        )
        known = tuple(
            PublicKeyEntry(id=key.key_id, role=role, public=key.public_text) for role, key in KEYS.items()
        )
        (site_folder / "keyring.toml").write_text(Keyring.dump((*known, acme)))
        self._counter = 0
        self._pause = threading.Event()
        self._clients: list[Client] = []

    def start(self) -> None:
        self.cloud.start()
        asyncio.run(self.site.start(agent=True))
        self.until(lambda: self.summary()["online"], "the site is online")

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.site.close()
        self.cloud.close()

    def client(self) -> Client:
        """Somebody on the broker; gone with the world."""
        client = Client(self.broker.port)
        self._clients.append(client)
        return client

    # ---------------------------------------------------------------- REST

    def call(
        self, path: str, body: Any = None, *, status: int | None = None, raw: bytes | None = None
    ) -> Any:
        """A request below /api/v1 with the token; its JSON. Another status than expected is a failure."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.cloud.port}/api/v1{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as reply:
                code, text = reply.status, reply.read()
        except urllib.error.HTTPError as refused:
            with refused:
                code, text = refused.code, refused.read()
        assert code == (status or (200 if data is None else code)), text
        return json.loads(text) | {"_status": code}

    def summary(self) -> Any:
        with contextlib.suppress(AssertionError):
            return self.call(f"/sites/{SITE}")
        return {"online": False}

    def command(self, command: str) -> Any:
        return self.call(f"/commands/{command}")

    def audit(self, **query: str) -> list[Any]:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return list(self.call(f"/audit?limit=500&{words}")["items"])

    def ended(self, command: str, *, within_s: float = 40.0) -> Any:
        """The command once it has its last word."""
        found = {}

        def over() -> bool:
            found.update(self.command(command))
            return found["state"] in ("done", "refused", "expired")

        self.until(over, f"{command} ends", within_s=within_s)
        return found

    def until(self, what: Callable[[], object], words: str, *, within_s: float = 30.0) -> None:
        until = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < until, f"not within {within_s:.0f} s: {words}\n{self.logs()}"
            self._pause.wait(0.05)

    def logs(self) -> str:
        return f"{self.cloud.log()[-3000:]}\n{self.site.log()[-3000:]}"

    # ---------------------------------------------------------------- MQTT

    def counter(self) -> int:
        """The next of every key: the command line counts by the clock as well."""
        self._counter = max(self._counter + 1, int(time.time() * 1000))
        return self._counter

    def signed(
        self,
        order: AnyOrder,
        *,
        key: SigningKey = ACME,
        command: str,
        site: str = SITE,
        counter: int | None = None,
        issued_ms: int | None = None,
        life_ms: int = 30_000,
        actor: str = "acme desk",
    ) -> Signed:
        """A command as a third party (or an attacker with somebody's key) signs it."""
        issued = int(time.time() * 1000) if issued_ms is None else issued_ms
        body = CommandBody(
            id=CommandId(command),
            site=SiteId(site),
            issued_ms=issued,
            expires_ms=issued + life_ms,
            counter=self.counter() if counter is None else counter,
            actor=actor,
            order=order,
        )
        return key.sign(Purpose.COMMAND, msgspec.msgpack.encode(body))

    def send(self, client: Client, signed: Signed, *, retain: bool = False) -> None:
        client.publish(topics.command(SITE), codec.encode(signed), retain=retain)


@contextmanager
def command_world(folder: Path) -> Iterator[CommandWorld]:
    """All of it, running; ended with the block."""
    with broker(folder) as running:
        world = CommandWorld(folder, running)
        try:
            world.start()
            yield world
        finally:
            world.close()
