"""Ties the flow runs of stages to the work that they are part of."""

from contextlib import AbstractContextManager

from prefect import tags

from pipelines.environment import Environment


def correlated(environment: Environment) -> AbstractContextManager[set[str]]:
    """Return a context whose flow runs are tagged with the correlation id; Prefect's pages filter by it."""
    return tags(f"correlation:{environment.correlation_id}")
