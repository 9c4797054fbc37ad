"""A loopback server with the faults of hosts on the internet."""

import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIP_S = 0.2
"""Delay between two bytes of a slow response."""


class FaultServer:
    """Serves `files` by path, without ranges, counts requests, and applies the faults of `faults` by path."""

    def __init__(self, host):
        self.files, self.redirects, self.faults, self.requests = {}, {}, {}, []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                outer.requests.append(self.path)
                outer.respond(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://{host}:{self.server.server_port}"

    def respond(self, handler):
        fault = self.faults.get(handler.path)
        if fault is not None and fault(self, handler):
            return
        if handler.path in self.redirects:
            send(handler, 302, {"Location": self.redirects[handler.path]})
        elif handler.path in self.files:
            kind, content = self.files[handler.path]
            send(handler, 200, {"Content-Type": kind, "Content-Length": len(content)}, content)
        else:
            send(handler, 404, {})

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


def send(handler, code, headers, content=b""):
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(content)


def answer(code, headers=None):
    """Respond with this status code."""

    def fault(server, handler):
        send(handler, code, headers or {})
        return True

    return fault


def answer_first(code, make_headers):
    """Respond with this status code to the first request of the path, then normally."""

    def fault(server, handler):
        if server.requests.count(handler.path) > 1:
            return False
        send(handler, code, make_headers())
        return True

    return fault


def in_seconds():
    return {"Retry-After": "1"}


def as_date():
    return {"Retry-After": formatdate(time.time() + 2, usegmt=True)}


def hang(server, handler):
    """Accept the request and never respond."""
    server.closing.wait(60)
    return True


def drip(server, handler):
    """Send one byte every `DRIP_S` seconds."""
    kind, content = server.files[handler.path]
    send(handler, 200, {"Content-Type": kind, "Content-Length": len(content)})
    for byte in content if handler.command == "GET" else b"":
        if server.closing.wait(DRIP_S):
            break
        handler.wfile.write(bytes([byte]))
    return True


def claim(share):
    """Announce `share` times the true length."""

    def fault(server, handler):
        kind, content = server.files[handler.path]
        length = int(share * len(content))
        send(handler, 200, {"Content-Type": kind, "Content-Length": length}, content[:length])
        return True

    return fault
