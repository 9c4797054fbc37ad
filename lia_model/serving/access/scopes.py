"""What a caller of the service may do, and whose jobs it sees."""

from dataclasses import dataclass
from enum import StrEnum

_READING_METHODS = ("GET", "HEAD", "OPTIONS")


class Scope(StrEnum):
    """What a token allows; each scope includes those before it."""

    READ = "read"
    """Read one's own jobs and results, the models and the metrics."""
    SUBMIT = "submit"
    """Submit, cancel and delete one's own jobs."""
    ADMIN = "admin"
    """The same for everybody's jobs."""

    def includes(self, other: "Scope") -> bool:
        """Return whether this scope allows all that `other` allows."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    owner: str | None
    """Name of the token, which the jobs it submits belong to; None is the operator of the service."""
    scope: Scope
    """What it may do."""

    @property
    def visible_owner(self) -> str | None:
        """Return the owner whose jobs it sees; None sees everybody's."""
        return None if self.scope is Scope.ADMIN else self.owner

    def sees(self, owner: str | None) -> bool:
        """Return whether it sees the jobs of `owner`."""
        return self.scope is Scope.ADMIN or owner == self.owner


OPERATOR = Caller(None, Scope.ADMIN)
"""Who uses the token of the service's environment, or a service without tokens."""


def required_scope(method: str) -> Scope:
    """Return the scope that a request needs, whatever its path, so that no new route is left open."""
    return Scope.READ if method in _READING_METHODS else Scope.SUBMIT
