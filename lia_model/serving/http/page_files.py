"""The web page at `/`: fixed files of this package, sent to anybody; what they ask for needs the token.

The page holds no secret and no state. Its policy allows scripts and styles of this server alone, none inline,
and no connection to any other.
"""

from importlib.resources import files
from pathlib import Path

from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PREFIX = "/page/"


class PageMiddleware:
    """Answers `/` and `/page/NAME` with the page's files; everything else goes to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        folder = Path(str(files("lia_model.serving.page")))
        self._files = {
            f"{_PREFIX}{path.name}": path for path in sorted(folder.iterdir()) if path.suffix in TYPES
        }
        self._files["/"] = self._files.pop(f"{_PREFIX}index.html")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or pass the request on."""
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        path = self._files.get(scope["path"]) if is_read else None
        if path is None:
            await self._app(scope, receive, send)
        else:
            await page_file(path)(scope, receive, send)


def page_file(path: Path) -> Response:
    """Return the answer with one of the page's files."""
    headers = {
        "Content-Security-Policy": PAGE_POLICY,
        # Always asked for again, so that a new version's files never mix with an old one's.
        "Cache-Control": "no-cache",
        "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    }
    return FileResponse(path, headers=headers, media_type=TYPES[path.suffix])
