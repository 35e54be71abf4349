"""The dashboard's built files from the package, or a page that says how to build them.

Hashed assets never change under their name; everything else is asked for anew. Paths of the dashboard's
own router (no dot in the last part) answer with its start page.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(str(files("cloud"))) / "web" / "static"
NOT_PAGES = ("api/", "health/", "problems/")
IMMUTABLE = "public, max-age=31536000, immutable"

_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Minewarden</title></head>
<body><h1>Minewarden cloud</h1>
<p>The service runs, but the dashboard is not built in this checkout. <code>make ui</code> builds it;
an installed wheel has it already.</p>
<p>The API is at <a href="/api/v1/sites">/api/v1/sites</a>, its description at
<a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p></body></html>
"""


class Pages(StaticFiles):
    """Static files with cache headers and the router's fallback."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or not _is_page(path):
                raise
            response = await super().get_response("index.html", scope)
            path = "index.html"
        hashed = path.startswith("assets/")
        response.headers["Cache-Control"] = IMMUTABLE if hashed else "no-cache"
        return response


def _is_page(path: str) -> bool:
    return not path.startswith(NOT_PAGES) and "." not in path.rsplit("/", 1)[-1]


def install(app: FastAPI, folder: Path = STATIC) -> None:
    """Serve the dashboard below `/`; must come after all other routes."""
    if (folder / "index.html").is_file():
        app.mount("/", Pages(directory=folder, html=True), name="dashboard")
        return

    @app.get("/", include_in_schema=False)
    async def not_built() -> HTMLResponse:
        return HTMLResponse(_NOT_BUILT, headers={"Cache-Control": "no-cache"})
