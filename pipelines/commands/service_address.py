"""The address at which `lia serve` lets the animation service listen, checked before anything starts."""

import http.client
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from lia_model.serving.http.access import is_loopback
from lia_model.serving.messages import PROJECT_HEADER, project_mark
from pipelines.environment import Environment


def require_address(environment: Environment, host: str, port: int) -> None:
    """Require that `host`:`port` can be bound, or is that of the service that is to be replaced.

    Raises:
        ValueError: another program listens there, or this machine has no such address.
    """
    if not runs_here(environment):
        # The service will listen on the head's machine, not on this one.
        return
    if environment.ray_address is not None and is_answered_by(url_of(host, port), environment.paths.root):
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        # The numbers of a name that is not found are not the system's.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ValueError(
            f"got {host}:{port} for the service, which cannot be bound ({reason}): stop the program that "
            "listens there, or choose another port with --port or LIA_SERVE_PORT"
        ) from None


def runs_here(environment: Environment) -> bool:
    """Return whether the cluster's head, and with it the service, is on this machine."""
    return environment.ray_address is None or is_loopback(_host_of(environment.ray_address))


def url_of(host: str, port: int) -> str:
    """Return the URL of the service at an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_answered_by(url: str, root: Path) -> bool:
    """Return whether the service of the project at `root` answers at the URL, healthy or not."""
    try:
        with without_proxy().open(f"{url}/healthz", timeout=5) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
        error.close()
    except (OSError, http.client.HTTPException):
        return False
    return headers.get(PROJECT_HEADER) == project_mark(root)


def without_proxy() -> urllib.request.OpenerDirector:
    """Return what opens URLs without the proxy of the environment."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _host_of(address: str) -> str:
    """Return the host of Ray's address, with or without a scheme."""
    return urlsplit(address if "://" in address else f"//{address}").hostname or ""
