"""The dashboard's files: cached for ever where hashed, asked for anew where not, and a strict policy."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.kit import problems
from cloud.kit.guard import SECURITY_HEADERS, Guard
from cloud.kit.refusals import Refusals
from cloud.web import pages
from shared.clock import ManualClock


def client(folder: Path) -> httpx.AsyncClient:
    app = FastAPI(openapi_url=None)
    problems.install(app)
    pages.install(app, folder)
    app.add_middleware(Guard, token="x" * 20, hosts=(), refusals=Refusals(ManualClock()))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Minewarden</title>")
    (tmp_path / "assets" / "index-Bx12.js").write_text("export {}")
    return tmp_path


async def test_the_start_page_is_asked_for_anew(built: Path) -> None:
    async with client(built) as web:
        reply = await web.get("/")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_hashed_files_never_change(built: Path) -> None:
    async with client(built) as web:
        reply = await web.get("/assets/index-Bx12.js")
    assert "immutable" in reply.headers["cache-control"]
    assert "javascript" in reply.headers["content-type"]


@pytest.mark.parametrize("path", ["/sites/demo", "/alarms", "/sites/demo/miners/m-07"])
async def test_paths_of_the_dashboards_router_give_the_start_page(built: Path, path: str) -> None:
    async with client(built) as web:
        reply = await web.get(path)
    assert reply.status_code == 200
    assert "Minewarden" in reply.text
    assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/gone.js", "/api/v1/nothing", "/favicon.ico"])
async def test_what_is_missing_is_missing(built: Path, path: str) -> None:
    async with client(built) as web:
        reply = await web.get(path)
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/../token", "/%2e%2e/token", "/assets/..%2f..%2ftoken", "/assets/%2e%2e/%2e%2e/token"]
)
async def test_nothing_outside_the_folder_is_served(built: Path, path: str) -> None:
    (built.parent / "token").write_text("secret")
    async with client(built) as web:
        reply = await web.get(path)
    assert "secret" not in reply.text


async def test_a_checkout_that_is_not_built_says_how(tmp_path: Path) -> None:
    async with client(tmp_path) as web:
        reply = await web.get("/")
    assert "make ui" in reply.text
