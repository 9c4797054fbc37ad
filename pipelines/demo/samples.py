"""The sample clips over loopback HTTP, so that the demo's downloads are real ones.

The port is fixed because the URL is a source's key: another port would make every source a new one. Byte
ranges are answered, since downloaders resume with them and http.server alone ignores them.
"""

import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

logger = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, with the single byte ranges of RFC 9110 section 14."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mp4": "video/mp4",
        ".mov": "video/quicktime",
    }

    def do_GET(self) -> None:
        """Answer with the whole file, or the part asked for."""
        path = Path(self.translate_path(self.path))
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        span = _span(wanted[1], wanted[2], size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, last = span
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with path.open("rb") as stream:
            stream.seek(first)
            self.wfile.write(stream.read(last - first + 1))

    def end_headers(self) -> None:
        """Say that ranges are welcome."""
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests out of the terminal."""
        logger.debug(format, *args)


def _span(first: str, last: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a range header asks for, or None if there are none such."""
    if not first:
        start, end = (max(0, size - int(last)), size - 1) if last else (size, size)
    else:
        start, end = int(first), min(int(last) if last else size, size - 1)
    return (start, end) if start <= end and start < size else None


@contextlib.contextmanager
def serve_folder(folder: Path, host: str, port: int) -> Iterator[str]:
    """Serve `folder` while the context lasts; yields the base URL. Port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    def handler(*args: object) -> _Handler:
        return _Handler(*args, directory=str(folder))  # pyright: ignore[reportArgumentType]

    with ThreadingHTTPServer((host, port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
