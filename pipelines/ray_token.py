"""The token that protects this project's Ray clusters: one file, which only its owner may read.

Ray checks it on every port but Serve's, whose application has a token of its own.
"""

import logging
import os
import secrets
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

_NUM_BYTES = 32
_OWNER_ONLY = 0o600


def ensure_ray_token(path: Path) -> None:
    """Write a new token to `path` if there is none, and take everyone else's access to the file away.

    Processes that do so at the same time end up with the same token.

    Raises:
        ValueError: the file is empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create(path)
    status = path.stat()
    if status.st_size == 0:
        raise ValueError(f"{path} is empty, but must hold Ray's token: delete it and run `lia stop`")
    if stat.S_IMODE(status.st_mode) & ~_OWNER_ONLY:
        logger.warning("%s could be read by other users; now only by you", path)
        path.chmod(_OWNER_ONLY)


def _create(path: Path) -> None:
    own = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    own.touch(_OWNER_ONLY, exist_ok=False)
    try:
        own.write_text(secrets.token_hex(_NUM_BYTES))
        _publish(own, path)
    finally:
        own.unlink(missing_ok=True)


def _publish(own: Path, path: Path) -> None:
    try:
        # A link, unlike a rename, does not replace the token that another process wrote in the meantime.
        path.hardlink_to(own)
    except FileExistsError:
        logger.debug("%s was written by another process", path)
    except OSError:
        # Some file systems have no links.
        own.replace(path)
