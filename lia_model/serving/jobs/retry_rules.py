"""How often and how soon a job is tried again."""

from dataclasses import dataclass

from lia_model.serving.messages import Error


@dataclass(frozen=True)
class RetryRules:
    """Limits of the attempts at one job.

    A job's own failures and the deaths of its runners count apart: a machine that goes down says little about
    the job it held. A graceful stop counts as neither.
    """

    lease_s: float = 30.0
    """How long a runner keeps a job without renewing its lease."""
    max_failures: int = 3
    """How often a job fails unexpectedly before it is given up."""
    max_losses: int = 10
    """How many runners may die while they hold a job before it is given up."""
    back_off_s: float = 2.0
    """Pause after the first failure; each further one doubles it."""
    max_back_off_s: float = 300.0
    """Longest pause."""

    def after_failure(self, num_failures: int, reason: str) -> float | Error:
        """Return the pause in seconds after so many failures, or the error of a job given up."""
        if num_failures >= self.max_failures:
            return _given_up("internal", self.max_failures, reason)
        return self.pause_s(num_failures)

    def after_loss(self, num_losses: int) -> float | Error:
        """Return the pause in seconds after so many losses, or the error of a job given up."""
        if num_losses >= self.max_losses:
            return _given_up("worker_lost", self.max_losses, "its runner died")
        # The lease has already kept the job from starting for a while.
        return self.pause_s(num_losses - 1)

    def after_outage(self, num_losses: int, error: Error) -> float | Error:
        """Return the pause in seconds of a job that could not start, or the error of a job given up."""
        if num_losses >= self.max_losses:
            return _given_up(error.code, self.max_losses, error.message)
        return self.pause_s(num_losses)

    def pause_s(self, num_failures: int) -> float:
        """Return how long a job waits after so many failures; 0 after none."""
        if num_failures == 0:
            return 0.0
        # 64 doublings exceed any limit, and many more the range of a float.
        return min(self.back_off_s * 2.0 ** min(num_failures - 1, 64), self.max_back_off_s)


def _given_up(code: str, num_attempts: int, reason: str) -> Error:
    return Error(code=code, message=f"given up after {num_attempts} attempts: {reason}")
