"""`/models` and `/training`."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from cloud.kit.context import Here
from cloud.kit.problems import Conflict, NotFound, Unauthorized, responses
from cloud.models import repository, service
from cloud.models.schemas import ModelList, TrainingList, TrainingRequest, TrainingView
from cloud.sites.service import must_exist
from shared.errors import ArtifactError

router = APIRouter(prefix="/api/v1", tags=["models"])
Version = Annotated[int, Path(ge=1, lt=2**63)]


@router.get("/models")
async def list_models(here: Here) -> ModelList:
    """All versions of all models, the rejected ones with the rule that refused them."""
    async with here.database.read() as session:
        return ModelList(items=[service.view(row) for row in await repository.models(session)])


@router.get(
    "/models/{name}/{version}/file",
    response_class=Response,
    responses={
        **responses(NotFound),
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    },
)
async def get_model_file(here: Here, name: str, version: Version) -> Response:
    """The ONNX file."""
    async with here.database.read() as session:
        row = await service.must_have(session, name, version)
    try:
        data = await here.blobs.get(row.sha256)
    except ArtifactError as error:
        raise NotFound(str(error)) from error
    headers = {"Content-Disposition": f'attachment; filename="{row.name}-v{row.version}.onnx"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.post("/training", status_code=202, responses=responses(NotFound, Unauthorized, Conflict))
async def start_training(here: Here, body: TrainingRequest) -> TrainingView:
    """Train on what the site sent; the winner is registered, and blessed where that is allowed online."""
    async with here.database.read() as session:
        site = await must_exist(session, body.site)
    return service.job_view(await here.trainer.enqueue(site, body.algorithms or (), body.minutes))


@router.get("/training")
async def list_training(here: Here) -> TrainingList:
    """Training jobs, newest first."""
    async with here.database.read() as session:
        return TrainingList(items=[service.job_view(row) for row in await repository.jobs(session)])


@router.get("/training/{job}", responses=responses(NotFound))
async def get_training(here: Here, job: str) -> TrainingView:
    """One training job."""
    async with here.database.read() as session:
        row = await repository.job(session, job)
    if row is None:
        raise NotFound(f"there is no training job {job!r}")
    return service.job_view(row)
