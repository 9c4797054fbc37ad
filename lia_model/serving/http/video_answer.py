"""A finished video as an HTTP answer."""

from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from lia_model.serving.errors import CODES, error_answer


class VideoAnswer(FileResponse):
    """A video, or the byte range of it that the request asks for; a wrong range is answered with JSON."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, its byte range, or the error."""
        refused = False

        async def send_json(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = True
                status = message["status"]
                answer = error_answer(
                    status,
                    CODES[status],
                    "the Range header asks for no part of the video; send bytes=FIRST-LAST within its size",
                )
                wanted = Headers(raw=message["headers"]).get("content-range")
                if wanted is not None:
                    answer.headers["Content-Range"] = wanted
                await answer(scope, receive, send)
            elif not refused:
                await send(message)

        await super().__call__(scope, receive, send_json)
