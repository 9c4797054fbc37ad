"""The HTTP server: one ASGI application behind one listening socket, in a thread of this process.

It is ours because Ray's proxy reads a body as fast as it arrives, whatever the application does: its memory
grows by every byte of an upload that the application has already refused.
"""

import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

BIND_TIMEOUT_S = 10.0
"""How long a predecessor may take to free the port."""
_BACKLOG = 512
_GRACE_S = 5


class HttpServer:
    """Serves `app` at `host`:`port` from `start` to `stop`.

    A body is read only as fast as the application takes it, but for 64 KiB.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._address = (host, port)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Bind the address, start the thread and wait until it accepts connections.

        Raises:
            OSError: the address cannot be bound, or another program still has it after `BIND_TIMEOUT_S`.
        """
        listener = _bind(self._address)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="http", daemon=True)
        self._thread.start()
        while not self._server.started and self.is_alive:
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop listening, give the requests in progress a few seconds, and end the thread."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()


def _bind(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    deadline = time.monotonic() + BIND_TIMEOUT_S
    while True:
        try:
            return socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as error:
            if time.monotonic() > deadline:
                raise OSError(
                    error.errno,
                    f"got no access to {address[0]}:{address[1]} ({error.strerror}): stop the program that "
                    "listens there, or choose another port",
                ) from None
            time.sleep(0.2)
