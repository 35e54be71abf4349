"""The dashboard without a cloud: serves the built page and canned answers (`support.ui_scene`), and plays
the live stream.

For tests, and for looking: `python -P -m support.ui` (with `tests` on PYTHONPATH) prints an address.
"""

import argparse
import json
import mimetypes
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from shared.clock import Clock, SystemClock
from support import ui_access, ui_campaigns
from support import ui_scene as scene
from support.ui_scene import Json

STATIC = Path(__file__).resolve().parents[2] / "cloud" / "web" / "static"
TOKEN = "fixture-token-of-enough-letters"
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEARTBEAT_S = 5.0


class Dashboard(ThreadingHTTPServer):
    """A cloud made of canned answers. `posts` keeps what was written to it; `push` sends a live event."""

    daemon_threads = True

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.clock = clock or SystemClock()
        self.sites: Callable[[int], list[Json]] = scene.sites
        self.devices: Callable[[int], dict[str, list[Json]]] = scene.devices
        self.campaigns: Callable[[int], list[Json]] = ui_campaigns.campaigns
        self.approvals: Callable[[int], list[Json]] = lambda now: [ui_campaigns.approval(now)]
        self.identity: Callable[[int], Json] = ui_access.identity
        self.posts: list[tuple[str, Json]] = []
        self.commands: list[Json] = scene.commands(self.clock.utc_ms())
        self.plans: dict[str, Json] = {}
        self.silent = False
        """True: the site does not say what an order would do."""
        self.failing: set[str] = set()
        """Paths below /api/v1 that answer 503."""
        self.dark = False
        """True: the live stream is refused, as from a cloud that is down."""
        self._listeners: list[queue.SimpleQueue[bytes | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def push(self, kind: str, body: Json) -> None:
        """Send one event to every page that listens."""
        for listener in list(self._listeners):
            listener.put(_sse(kind, body))

    def cut(self) -> None:
        """End every live stream and refuse new ones until `restore`."""
        self.dark = True
        for listener in list(self._listeners):
            listener.put(None)

    def restore(self) -> None:
        """Let pages connect again."""
        self.dark = False

    def snapshot(self) -> Json:
        """What a page starts from."""
        now = self.clock.utc_ms()
        return {
            "sites": self.sites(now),
            "devices": self.devices(now),
            "alarms": [alarm for alarm in scene.alarms(now) if alarm["cleared_ms"] is None],
            "events": scene.events(now),
        }

    @contextmanager
    def listening(self) -> Iterator["queue.SimpleQueue[bytes | None]"]:
        """A queue that gets every pushed event while the block runs."""
        mine: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._listeners.append(mine)
        try:
            yield mine
        finally:
            self._listeners.remove(mine)


def _sse(kind: str, body: Json) -> bytes:
    return f"id: 1\nevent: {kind}\ndata: {json.dumps(body)}\n\n".encode()


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Silent: the browser's own console is what tests look at."""

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if not where.path.startswith("/api/v1/"):
            self._file(where.path)
            return
        path = where.path.removeprefix("/api/v1")
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        if path == "/live":
            self._live()
        elif path in self.server.failing:
            self._problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database cannot be reached now")
        else:
            body = self._read(path, query)
            if body is None:
                self._problem(HTTPStatus.NOT_FOUND, "Not found")
            else:
                self._json(HTTPStatus.OK, body)

    def _read(self, path: str, query: dict[str, str]) -> Json | None:
        now = self.server.clock.utc_ms()
        if path.endswith("/telemetry"):
            columns = query["columns"].split(",")
            return scene.telemetry(query["device"], columns, int(query["from_ms"]), now, int(query["limit"]))
        if path.startswith("/commands/"):
            return next((one for one in self.server.commands if path.endswith(one["id"])), None)
        if path.startswith("/sites/"):
            return self._of_site(path, now)
        if path == "/identity":
            return self.server.identity(now)
        site = query.get("site")
        lists: dict[str, Callable[[], list[Json]]] = {
            "/alarms": lambda: [
                a for a in scene.alarms(now) if query["state"] == "all" or a["cleared_ms"] is None
            ],
            "/events": lambda: [
                e
                for e in scene.events(now)
                if query.get("kind") in (None, e["kind"]) and query.get("device") in (None, e["device"])
            ],
            "/models": lambda: scene.models(now),
            "/rollouts": lambda: scene.rollouts(now),
            "/campaigns": lambda: self.server.campaigns(now),
            "/approvals": lambda: self.server.approvals(now),
            "/training": list,
            "/enrolments": lambda: ui_access.enrolments(now),
            "/certificates": lambda: ui_access.certificates(now),
            "/commands": lambda: self.server.commands,
        }
        if path not in lists:
            return None
        items = [one for one in lists[path]() if site is None or one.get("site") in (None, site)]
        return {"items": items, "next_cursor": None}

    def _of_site(self, path: str, now: int) -> Json | None:
        """What stands below one site."""
        site, *rest = path.removeprefix("/sites/").split("/")
        match rest:
            case ["ledger"]:
                return ui_access.ledger(site)
            case ["raw-windows"]:
                return {"items": ui_access.raw_windows(now) if site == "alpha" else []}
            case ["raw-requests"]:
                return {"items": ui_access.raw_requests(now) if site == "alpha" else []}
            case ["devices", device, "history"]:
                return ui_access.own_record(device, now)
        return None

    def do_POST(self) -> None:
        body: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._problem(HTTPStatus.UNAUTHORIZED, "A bearer token is needed")
            return
        path = urlsplit(self.path).path.removeprefix("/api/v1")
        self.server.posts.append((path, body))
        now = self.server.clock.utc_ms()
        if path.endswith("/acknowledge"):
            alarm = next(one for one in scene.alarms(now) if one["id"] == unquote(path.split("/")[2]))
            self._json(HTTPStatus.OK, alarm | {"acknowledged_ms": now, "acknowledged_by": body["by"]})
        elif path == "/commands":
            self._sent(f"command-{len(self.server.posts)}", body, now)
        elif path == "/commands/plans":
            plan = scene.plan(f"plan-{len(self.server.posts)}", body, now, blind=self.server.silent)
            self.server.plans[plan["id"]] = plan
            self._json(HTTPStatus.CREATED, plan)
        elif path.startswith("/commands/plans/"):
            plan = self.server.plans[path.split("/")[3]]
            if plan["preview"] is None and not body["blind"]:
                self._problem(HTTPStatus.CONFLICT, "Not possible in the present state")
            else:
                self._sent(plan["id"], plan, now)
        else:
            self._json(HTTPStatus.CREATED, {"id": "made"} | body)

    def _sent(self, command_id: str, asked: Json, now: int) -> None:
        command = scene.commands(now)[0] | {
            "id": command_id,
            "site": asked["site"],
            "actor": asked["actor"],
            "order": asked["order"],
            "issued_ms": now,
            "expires_ms": now + 30_000,
            "state": "sent",
            "outcome": None,
            "writes": [],
            "history": [],
        }
        self.server.commands = [command, *self.server.commands]
        self._json(HTTPStatus.ACCEPTED, command)

    def _live(self) -> None:
        if self.server.dark:
            self._problem(HTTPStatus.SERVICE_UNAVAILABLE, "The cloud is starting")
            return
        with self.server.listening() as news:
            self._head(HTTPStatus.OK, "text/event-stream")
            try:
                self.wfile.write(_sse("snapshot", self.server.snapshot()))
                while True:
                    try:
                        piece = news.get(timeout=HEARTBEAT_S)
                    except queue.Empty:
                        piece = b": alive\n\n"
                    if piece is None:
                        return
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                return

    def _file(self, path: str) -> None:
        found = STATIC / (path.lstrip("/") or "index.html")
        if not found.is_file() or not found.resolve().is_relative_to(STATIC.resolve()):
            self._problem(HTTPStatus.NOT_FOUND, "Not found")
            return
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        body = found.read_bytes()
        self._head(HTTPStatus.OK, kind, len(body))
        self.wfile.write(body)

    def _json(self, status: HTTPStatus, body: Json, kind: str = "application/json") -> None:
        data = json.dumps(body).encode()
        self._head(status, kind, len(data))
        self.wfile.write(data)

    def _problem(self, status: HTTPStatus, title: str) -> None:
        body = {
            "type": "about:blank",
            "title": title,
            "status": int(status),
            "detail": "Try again.",
            "code": "fixture",
        }
        self._json(status, body, "application/problem+json")

    def _head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", CSP)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


@contextmanager
def serving(*, port: int = 0) -> Iterator[Dashboard]:
    """A running fixture on a free loopback port."""
    with Dashboard(port=port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.cut()
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="the dashboard on canned data")
    parser.add_argument("--port", type=int, default=8400)
    with serving(port=parser.parse_args().port) as server:
        print(f"{server.url}  (write token: {TOKEN})")
        threading.Event().wait()


if __name__ == "__main__":
    main()
