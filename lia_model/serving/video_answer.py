"""A finished video as an HTTP answer."""

from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from lia_model.serving.errors import CODES, error_answer


class VideoAnswer(FileResponse):
    """A video, or a byte range of it; a range outside the file is refused in JSON like all errors."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the error."""
        refused = False

        async def send_json(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = True
                status = message["status"]
                answer = error_answer(status, CODES[status], "the video has no such byte range")
                wanted = Headers(raw=message["headers"]).get("content-range")
                if wanted is not None:
                    answer.headers["Content-Range"] = wanted
                await answer(scope, receive, send)
            elif not refused:
                await send(message)

        await super().__call__(scope, receive, send_json)
