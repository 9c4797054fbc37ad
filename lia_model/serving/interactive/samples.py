"""The sample clips over HTTP, so that the page can be tried without a file of one's own."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from lia_model.serving.errors import RefusalError, refusals
from lia_model.serving.interactive.messages import Sample, SampleList

SUFFIXES = (".mp4", ".mov", ".webm")


def samples_routes(folder: Path | None) -> APIRouter:
    """Return the routes of the clips in `folder`, which may be missing."""
    router = APIRouter(prefix="/v1/samples", tags=["samples"], responses=refusals(401))

    @router.get("")
    def list_samples() -> SampleList:
        """List the clips that the server offers to try."""
        return SampleList(samples=[Sample(name=name, url=f"/v1/samples/{name}") for name in _clips(folder)])

    @router.get("/{name}", response_class=FileResponse, responses=refusals(404))
    def read_sample(name: str) -> FileResponse:
        """Return a clip, or the requested byte range of it."""
        # Only a name from the list, so that no other file is reached.
        found = _clips(folder).get(name)
        if found is None:
            raise RefusalError(404, "not_found", f"there is no sample {name}")
        return FileResponse(found)

    return router


def _clips(folder: Path | None) -> dict[str, Path]:
    if folder is None or not folder.is_dir():
        return {}
    return {path.name: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
