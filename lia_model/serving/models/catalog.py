"""Which versions of the served model there are, as the registry last said, and which one a request means.

The registry is asked again when what it said is `MAX_AGE_S` old. While it is silent, what it said last holds,
so that jobs do not depend on it; a version that it has not named so far is then not refused for good.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import NamedTuple

from lia_model.registry.models import registry_errors
from lia_model.registry.outages import reason_of
from lia_model.serving.messages import AvailableModel, ModelVersion

logger = logging.getLogger(__name__)

MAX_AGE_S = 10.0
TIMEOUT_S = 5.0
"""How long a request waits for the registry."""


class UnknownModelError(ValueError):
    """No version of the served model is meant by the word."""


class RegistrySilentError(Exception):
    """The registry does not answer, so that a version may exist which it has not named so far."""


class Registered(NamedTuple):
    """What the registry says of a version."""

    aliases: Sequence[str] = ()
    """Those that point at it."""
    licences: Mapping[str, str] = {}
    """Licences that limit its use, by part."""


class ModelCatalog:
    """The default model and the other versions under its name.

    Args:
        default: the version served by default at start.
        alias: alias that the default follows; None always serves `default`.
        read: returns what is registered, by version; None has no other version than the default.
        is_loaded: returns whether a replica has a version loaded; None has the default alone.
        max_age_s: how long what the registry said holds.
    """

    def __init__(
        self,
        default: ModelVersion,
        alias: str | None = None,
        read: Callable[[], Mapping[str, Registered]] | None = None,
        is_loaded: Callable[[ModelVersion], bool] | None = None,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._default = default
        self._alias = alias
        self._read = read
        self._is_loaded = is_loaded or (lambda model: model == default)
        self._max_age_s = max_age_s
        self._registered: Mapping[str, Registered] = {}
        self._read_s: float | None = None
        self._reading: Future[Mapping[str, Registered]] | None = None
        self._is_silent = False
        self._lock = threading.Lock()
        self._calls = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model registry")

    def default(self) -> ModelVersion:
        """Return the version that a job gets which asks for none."""
        version = None if self._alias is None else self._at_alias(self._alias)
        return self._default if version is None else self._named(version)

    def find(self, word: str | None) -> tuple[ModelVersion, bool]:
        """Return the version that a request means, and whether no other may stand for it.

        Args:
            word: `NAME@ALIAS`, `@ALIAS`, `NAME/VERSION` or `VERSION`, with or without `models:/`; the name
                alone and None are the default.

        Raises:
            UnknownModelError: there is no such version.
            RegistrySilentError: the registry, which does not answer now, has named no such version so far.
        """
        default = self.default()
        if word is None or word == default.name:
            return default, False
        asked = word.removeprefix("models:/")
        name, mark, rest = asked.rpartition("@") if "@" in asked else asked.rpartition("/")
        version = self._at_alias(rest) if mark == "@" else rest
        known = {default.version, self._default.version, *self._known()}
        is_ours = name in ("", default.name)
        if is_ours and self._is_silent and version not in known:
            raise RegistrySilentError(
                f"{word} is looked for in the model registry, which does not answer now"
            )
        if not is_ours or version not in known:
            raise UnknownModelError(
                f"{word} is not served here; {default.uri} is, and what GET /v1/models lists: name one of "
                "these, or leave it out"
            )
        return self._named(str(version)), True

    def available(self) -> list[AvailableModel]:
        """Return all versions with their aliases and licences, the newest first."""
        default = self.default()
        known = {default.version: Registered(), **self._known()}
        return [
            AvailableModel(
                **self._named(version).model_dump(),
                aliases=sorted(known[version].aliases),
                licences=dict(known[version].licences),
                is_default=version == default.version,
                is_loaded=self._is_loaded(self._named(version)),
            )
            for version in sorted(known, key=lambda version: version.zfill(12), reverse=True)
        ]

    def _named(self, version: str) -> ModelVersion:
        return ModelVersion(name=self._default.name, version=version)

    def _at_alias(self, alias: str) -> str | None:
        return next((version for version, one in self._known().items() if alias in one.aliases), None)

    def _known(self) -> dict[str, Registered]:
        """Return what is registered by version, read anew if it is too old."""
        if self._read is None:
            return {}
        with self._lock:
            is_old = self._read_s is None or time.monotonic() - self._read_s >= self._max_age_s
            if is_old or (self._reading is not None and self._reading.done()):
                self._read_anew(self._read)
            return dict(self._registered)

    def _read_anew(self, read: Callable[[], Mapping[str, Registered]]) -> None:
        """Take the answer of the registry, or go on without if it does not come in time."""
        # A slow answer is waited for by the next request too, instead of being asked for again.
        self._reading = self._reading or self._calls.submit(read)
        try:
            self._registered = self._reading.result(TIMEOUT_S)
            self._is_silent = False
        except (*registry_errors(), FutureTimeoutError, ValueError) as error:
            logger.warning(
                "the model registry does not answer, what it said last holds: %s", reason_of(error)
            )
            self._is_silent = True
        if self._reading.done():
            self._reading = None
        # After a failure too, so that not every request waits for a silent registry.
        self._read_s = time.monotonic()
