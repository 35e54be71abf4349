"""The API's description: FastAPI's own, with our errors and our bearer token said as they are."""

from typing import Any

from fastapi import FastAPI

from cloud.kit.guard import OPEN_WRITES, SAFE_METHODS
from cloud.kit.problems import MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of the app. Every operation may answer with a problem; writes need the token."""
    document: dict[str, Any] = FastAPI.openapi(app)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _errors(operation)
            if method.upper() not in SAFE_METHODS and path not in OPEN_WRITES:
                operation["security"] = [{"token": []}]
            operation["operationId"] = operation["operationId"].split("_api_v1_")[0]
            if not path.startswith("/api/"):
                operation["operationId"] = operation["operationId"].split("_health")[0].split("_problems")[0]
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document


def _errors(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM}}
    operation["responses"]["default"] = {
        "description": "Any other error",
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    }
