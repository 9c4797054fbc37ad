"""How often and how soon a job is tried again."""

from dataclasses import dataclass


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

    def pause_s(self, num_failures: int) -> float:
        """Return how long a job waits after so many failures; 0 after none."""
        if num_failures == 0:
            return 0.0
        # 64 doublings exceed any limit, and many more the range of a float.
        return min(self.back_off_s * 2.0 ** min(num_failures - 1, 64), self.max_back_off_s)
