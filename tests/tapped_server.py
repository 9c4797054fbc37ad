"""A relay in front of a server on loopback, which calls a function when a client sends certain bytes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def tapped(port: int, marker: bytes, call: Callable[[], None]) -> Iterator[str]:
    """Relay to the server at a port; yield the URL of the relay.

    Args:
        port: of the server.
        marker: what a client has to send in one piece.
        call: called once, before the server gets these bytes.
    """
    called = threading.Event()
    connections: list[threading.Thread] = []

    def relay(source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_client and marker in data and not called.is_set():
                    called.set()
                    call()
                target.sendall(data)
        for side in (source, target):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def connect(client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                # As a load balancer without a server behind it.
                return
            with server:
                answers = threading.Thread(target=relay, args=(server, client, False), daemon=True)
                answers.start()
                relay(client, server, True)
                answers.join()

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                connections.append(threading.Thread(target=connect, args=(client,), daemon=True))
                connections[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        # Closing alone does not wake a thread that waits for a client.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.join(5)
