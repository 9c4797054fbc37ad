"""The queue of jobs in the service's database: what waits, what runs, what came of it."""

from lia_model.serving.jobs.errors import KeyReusedError, QueueFullError
from lia_model.serving.jobs.retry_rules import RetryRules
from lia_model.serving.jobs.store import JobStore

__all__ = ["JobStore", "KeyReusedError", "QueueFullError", "RetryRules"]
