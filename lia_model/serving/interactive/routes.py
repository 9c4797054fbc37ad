"""The live calls over HTTP: crops, directions, manipulations."""

from typing import Annotated, Literal, no_type_check

from fastapi import APIRouter, Depends, Form, Request, UploadFile
from fastapi.responses import Response

from lia_model.animation.options import parse_square
from lia_model.serving.access.scopes import Caller
from lia_model.serving.errors import bad_field, refusals
from lia_model.serving.http.access import caller_of
from lia_model.serving.interactive.live_model import PictureFormat
from lia_model.serving.interactive.live_requests import LiveRequests
from lia_model.serving.interactive.messages import Crop, Direction, DirectionList, DirectionName
from lia_model.serving.uploads import require_fields, require_multipart
from preprocessing.media.boxes import Box

PORTRAIT_HEADER = "LIA-Portrait"
"""Header of a manipulation's answer: names the portrait in later calls."""
_SQUARE = r"^-?\d{1,6}:-?\d{1,6}:[1-9]\d{0,5}$"

Who = Annotated[Caller, Depends(caller_of)]
FaceField = Annotated[str, Form(pattern=r"^(largest|[1-9]\d{0,3})$")]
SquareField = Annotated[str | None, Form(pattern=_SQUARE)]


async def _require_crop_fields(request: Request) -> None:
    await require_fields(request, {"picture", "face", "square"})


async def _require_manipulation_fields(request: Request) -> None:
    await require_fields(request, {"source", "portrait", "face", "square", "weights", "format"})


def live_routes(live: LiveRequests) -> APIRouter:
    """Return the routes of the live calls."""
    router = APIRouter(prefix="/v1", tags=["live"], responses=refusals(401, 503))

    @router.get("/directions")
    def list_directions() -> DirectionList:
        """List the model's motion directions, with the names that users gave them."""
        return live.directions()

    @router.put("/directions/{number}", responses=refusals(404, 422))
    def name_direction(number: int, named: DirectionName) -> Direction:
        """Name a direction; the name is kept with the model version."""
        return live.name_direction(number, named.name)

    @router.post(
        "/crops",
        dependencies=[Depends(require_multipart), Depends(_require_crop_fields)],
        responses=refusals(400, 413, 415, 422),
    )
    @no_type_check
    def crop(picture: UploadFile, face: FaceField = "largest", square: SquareField = None) -> Crop:
        """Return the faces of `picture`, an image or the first frame of a video, and what the model sees."""
        return live.crop(picture, _face(face), _square(square))

    @router.post(
        "/manipulations",
        response_class=Response,
        dependencies=[Depends(require_multipart), Depends(_require_manipulation_fields)],
        responses={
            200: {
                "content": {"image/png": {}, "image/jpeg": {}},
                "headers": {PORTRAIT_HEADER: {"schema": {"type": "string"}, "description": "for `portrait`"}},
            },
            **refusals(400, 404, 413, 415, 422),
        },
    )
    @no_type_check
    def manipulate(
        caller: Who,
        source: UploadFile | None = None,
        portrait: Annotated[str | None, Form()] = None,
        face: FaceField = "largest",
        square: SquareField = None,
        weights: Annotated[str | None, Form(max_length=10_000)] = None,
        format: Annotated[PictureFormat, Form()] = "png",
    ) -> Response:
        """Move a portrait by `weights`, one number a direction, separated by commas, added to its own pose.

        The first call sends `source`; later ones send the value of its answer's header LIA-Portrait as
        `portrait`, which is much faster; only its owner's tokens find it. Left out, `weights` are zero.
        """
        if (source is None) == (portrait is None):
            raise bad_field("source", "got both source and portrait, or neither; send one of them")
        if source is None:
            kept = live.find_portrait(caller, portrait)
        else:
            kept = live.add_portrait(caller, source, _face(face), _square(square))
        headers = {PORTRAIT_HEADER: kept[0], "Cache-Control": "no-store"}
        return Response(live.paint(kept, weights, format), media_type=f"image/{format}", headers=headers)

    return router


def _face(text: str) -> int | Literal["largest"]:
    return "largest" if text == "largest" else int(text)


def _square(text: str | None) -> Box | None:
    return None if text is None else parse_square(text)
