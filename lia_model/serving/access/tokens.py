"""Tells from a request's Authorization header who sent it."""

import hmac
import threading

from lia_model.serving.access.scopes import OPERATOR, Caller
from lia_model.serving.access.token_file import TokenFile, TokenRecord, token_hash


class Tokens:
    """The tokens that the service accepts: those of its file, read again when it changes, and one more.

    Once the file exists, a token is required, even if all of them are revoked: revoking the last one must not
    open the service.

    Args:
        file: of the tokens; None has none.
        admin_token: a further token, with the scope admin, unless the file gives it another one; None has
            none.
        is_public: whether other machines reach the service, which then always requires a token.
    """

    def __init__(
        self, file: TokenFile | None, admin_token: str | None = None, is_public: bool = False
    ) -> None:
        self._file = file
        self._admin_token = admin_token
        self._is_public = is_public
        self._lock = threading.Lock()
        self._version: tuple[int, ...] = ()
        self._by_hash: dict[str, TokenRecord] = {}

    @property
    def is_required(self) -> bool:
        """Return whether requests need a token."""
        has_file = self._file is not None and self._file.exists()
        return self._is_public or self._admin_token is not None or has_file

    def caller(self, authorization: str) -> Caller | None:
        """Return who sent a request with this Authorization header; None for a missing or wrong token.

        Raises:
            TokenFileError: the file cannot be read.
        """
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        # Starlette decodes headers as Latin-1; encoded again, these are the bytes that were sent.
        token = given.strip(" ").encode("latin-1").decode(errors="replace")
        # A hash as the key of a dictionary: what its lookup tells by its time is not the token.
        record = self._known().get(token_hash(token))
        if record is not None:
            return Caller(record.name, record.scope)
        if self._admin_token is not None and hmac.compare_digest(token.encode(), self._admin_token.encode()):
            return OPERATOR
        return None

    def _known(self) -> dict[str, TokenRecord]:
        if self._file is None:
            return {}
        with self._lock:
            version = self._file.version()
            if version != self._version:
                self._by_hash = {record.sha256: record for record in self._file.read()}
                self._version = version
            return self._by_hash
