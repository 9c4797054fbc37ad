"""The file that holds the service's tokens, as hashes.

A token is 256 random bits, so its SHA-256 is enough: the slow, salted hashes of passwords protect secrets
that can be guessed, which these cannot. The file is replaced as a whole, so that a running service reads
either the old one or the new one.
"""

import fcntl
import hashlib
import logging
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lia_model.serving.access.scopes import Scope
from preprocessing.storage.files import write_atomically

logger = logging.getLogger(__name__)

PREFIX = "lia_"
"""Beginning of every token, by which scanners find one that was published by accident."""
_NUM_BYTES = 32
_OWNER_ONLY = 0o600
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class TokenRecord(BaseModel):
    """What the file keeps of a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """By which it is revoked; no secret."""
    name: Name
    """Owner of its jobs; several tokens may have one name, such as one to submit and one to read."""
    scope: Scope
    """What it allows."""
    sha256: str
    """Hash of the token, in hex."""
    created: datetime
    """UTC."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    tokens: tuple[TokenRecord, ...] = ()


@dataclass(frozen=True)
class NewToken:
    """A token that was just created."""

    record: TokenRecord
    secret: str
    """The token itself, which nothing keeps."""


class TokenFileError(Exception):
    """The file cannot be read or is damaged."""


class TokenFile:
    """The tokens in the file at `path`, which only its owner may read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Return whether there is a file, which may hold no token any more."""
        return self.path.exists()

    def version(self) -> tuple[int, ...]:
        """Return what is another one after every change; empty without a file."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> tuple[TokenRecord, ...]:
        """Return the tokens; none if there is no file.

        Raises:
            TokenFileError: the file cannot be read or is damaged.
        """
        try:
            self._close_to_others()
            return _Content.model_validate_json(self.path.read_bytes()).tokens
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise TokenFileError(
                f"{self.path} cannot be read ({reason}), but must hold the service's tokens: restore it, or "
                "delete it and create the tokens anew with `lia token create`"
            ) from None

    def create(self, scope: Scope, name: str | None = None) -> NewToken:
        """Create a token.

        Args:
            scope: what it allows.
            name: owner of its jobs; None is an owner of its own.

        Raises:
            ValueError: the name is not allowed.
            TokenFileError: the file cannot be read.
        """
        token_id, secret = secrets.token_hex(4), PREFIX + secrets.token_urlsafe(_NUM_BYTES)
        name = token_id if name is None else name
        try:
            record = TokenRecord(
                id=token_id, name=name, scope=scope, sha256=token_hash(secret), created=datetime.now(UTC)
            )
        except ValidationError:
            raise ValueError(
                f"got the name {name!r}; a token's name has at most 64 letters, digits, '.', '_' and '-', "
                "and starts with a letter or digit: choose another one"
            ) from None
        with self._changing() as tokens:
            self._write([*tokens, record])
        return NewToken(record, secret)

    def revoke(self, id_or_name: str) -> list[TokenRecord]:
        """Remove the token of an id, or all tokens of a name, and return them.

        Raises:
            ValueError: there is none.
            TokenFileError: the file cannot be read.
        """
        with self._changing() as tokens:
            revoked = [one for one in tokens if id_or_name in (one.id, one.name)]
            if not revoked:
                raise ValueError(
                    f"got {id_or_name!r}, which is no id or name of a token: `lia token list` lists them"
                )
            self._write([one for one in tokens if one not in revoked])
        return revoked

    @contextmanager
    def _changing(self) -> Iterator[tuple[TokenRecord, ...]]:
        """Yield the tokens, which no other process changes inside the block."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read()

    def _write(self, tokens: Sequence[TokenRecord]) -> None:
        with write_atomically(self.path) as partial:
            partial.touch(_OWNER_ONLY)
            partial.write_text(_Content(tokens=tuple(tokens)).model_dump_json(indent=1) + "\n")

    def _close_to_others(self) -> None:
        if stat.S_IMODE(self.path.stat().st_mode) & ~_OWNER_ONLY:
            logger.warning("%s was open to other users; now only to you", self.path)
            self.path.chmod(_OWNER_ONLY)


def token_hash(secret: str) -> str:
    """Return what the file keeps of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()
