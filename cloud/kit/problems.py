"""Every error of the API is an RFC 9457 `application/problem+json`.

::

    ApiError                   status, code, title
    ├── NotFound               404 what the path names does not exist
    ├── Unauthorized           401 a write without the bearer token
    ├── Forbidden              403 known, but never allowed over this way
    ├── Conflict               409 not in the present state
    │   └── PlanNeeded         409 what touches power is planned first, then confirmed
    ├── TooLarge               413 the body is over the limit
    ├── BadInput               422 the body or query does not mean anything here
    ├── TooMany                429 more requests than are taken; later
    └── Unavailable            503 broker or database cannot be reached now
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError, StatementError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.errors import MinewardenError, SecurityError

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class ApiError(MinewardenError):
    """Root of what a request can be answered with besides success."""

    status = 500
    code = "internal"
    title = "Internal error"


class NotFound(ApiError):
    """The path names something that does not exist."""

    status = 404
    code = "not-found"
    title = "Not found"


class Unauthorized(ApiError):
    """A write came without the bearer token, or with a wrong one."""

    status = 401
    code = "unauthorized"
    title = "A bearer token is needed"


class Forbidden(ApiError):
    """Understood, and never allowed over this interface."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class Conflict(ApiError):
    """Not possible in the present state of what is named."""

    status = 409
    code = "conflict"
    title = "Not possible in the present state"


class PlanNeeded(Conflict):
    """The order touches power: plan it, look at what the site says it would do, then confirm the plan."""

    code = "plan-needed"
    title = "A plan is needed first"


class TooLarge(ApiError):
    """The request body is over the limit."""

    status = 413
    code = "too-large"
    title = "Body too large"


class BadInput(ApiError):
    """The request is well-formed but means nothing here."""

    status = 422
    code = "bad-input"
    title = "Input not usable"


class TooMany(ApiError):
    """More requests of this kind than are taken in this time; try again later."""

    status = 429
    code = "too-many"
    title = "Too many requests"
    permanent = False


class Unavailable(ApiError):
    """The broker or the database cannot be reached now; trying again later may help."""

    status = 503
    code = "unavailable"
    title = "Not available now"
    permanent = False


ABOUT: dict[str, str] = {
    error.code: error.__doc__ or ""
    for error in (
        NotFound,
        Unauthorized,
        Forbidden,
        Conflict,
        PlanNeeded,
        TooLarge,
        BadInput,
        TooMany,
        Unavailable,
    )
} | {
    "bad-request": "The request is not valid HTTP or not valid JSON.",
    "method-not-allowed": "The path exists, but not with this method; see the Allow header.",
    "internal": "A fault of the server; its log has the details under the same path and time.",
}
"""What each code means; served under `/problems/<code>`, which is every problem's `type`."""


class FieldError(BaseModel):
    """One part of the input that was refused, and why."""

    where: str
    what: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] | None = None


def problem(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    instance: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as a response; `errors` is left out where there are none."""
    body = Problem(
        type=f"/problems/{code}",
        title=title,
        status=status,
        detail=detail,
        instance=instance,
        code=code,
        errors=list(errors) or None,
    )
    content = json.dumps(body.model_dump(exclude_none=True), ensure_ascii=False)
    return Response(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def from_error(error: ApiError, instance: str) -> Response:
    """An `ApiError` as a response."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else None
    return problem(
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        instance=instance,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Route every kind of error of the app through `problem`."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(SQLAlchemyError, _on_database)
    app.add_exception_handler(OSError, _on_database)
    app.add_exception_handler(SecurityError, _on_security)
    app.add_exception_handler(Exception, _on_fault)


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - Starlette hands over exactly what was registered
    return from_error(error, request.url.path)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    errors = [
        FieldError(where=".".join(str(part) for part in item["loc"]), what=str(item["msg"]))
        for item in error.errors()
    ]
    return problem(
        status=422,
        code=BadInput.code,
        title=BadInput.title,
        detail="; ".join(f"{item.where}: {item.what}" for item in errors),
        instance=request.url.path,
        errors=errors,
    )


_HTTP_CODES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if isinstance(error.__cause__, ApiError):
        # FastAPI turns whatever goes wrong while a body is read into its own 400.
        return from_error(error.__cause__, request.url.path)
    return problem(
        status=error.status_code,
        code=_HTTP_CODES.get(error.status_code, "bad-request" if error.status_code < 500 else "internal"),
        title=str(error.detail),
        detail=f"{request.method} {request.url.path}: {error.detail}",
        instance=request.url.path,
        headers=error.headers,
    )


async def _on_database(request: Request, error: Exception) -> Response:
    if isinstance(error, StatementError) and isinstance(
        getattr(error.orig, "__cause__", None), asyncpg.DataError
    ):
        # PostgreSQL's text holds no NUL, for one. Trying again would not help, and the database is well.
        return from_error(BadInput("a text or number in it cannot be stored or looked for"), request.url.path)
    _log.error("%s %s: database: %s", request.method, request.url.path, error)
    return from_error(Unavailable("the database cannot be used now"), request.url.path)


async def _on_security(request: Request, error: Exception) -> Response:
    return from_error(Forbidden(str(error)), request.url.path)


async def _on_fault(request: Request, error: Exception) -> Response:
    # Starlette logs the traceback itself; the reply must not leak it.
    return problem(
        status=500,
        code=ApiError.code,
        title=ApiError.title,
        detail=f"{type(error).__name__}; the server's log has the details",
        instance=request.url.path,
    )


def responses(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors that an operation may answer with."""
    kinds: tuple[type[ApiError], ...] = (*errors, BadInput)
    return {kind.status: {"description": kind.title, "model": Problem} for kind in kinds}
