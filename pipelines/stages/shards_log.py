"""What the stage shards logs: each source as it ends, the counts, and what the operator should know."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from prefect import get_run_logger

from preprocessing.clips.splitting.assignment import OTHER_SPLIT, Assignment
from preprocessing.clips.splitting.disjointness import Disjointness
from preprocessing.clips.stored_result import SourceSummary
from preprocessing.ledger import ClipRow, count_clips, count_failures

NUM_LOGGED_ERRORS = 10
"""Most errors that the log lists; the contact sheet lists more."""


def result_logger(total: int) -> Callable[[SourceSummary], None]:
    """Return a function that logs each finished source, with the rate and the remaining time."""
    log, started, done = get_run_logger().info, time.monotonic(), 0

    def log_result(result: SourceSummary) -> None:
        nonlocal done
        done += 1
        rate = done / max(time.monotonic() - started, 1e-3)
        left = timedelta(seconds=round((total - done) / rate))
        url, outcomes = result.rows[0].url, _join_counts(result.rows)
        log("%d/%d %s: %s (%.2f sources/s, %s left)", done, total, url, outcomes, rate, left)

    return log_result


def log_outcomes(rows: Sequence[ClipRow]) -> None:
    """Log the number of clips by outcome, and the failures by error."""
    run_logger = get_run_logger()
    failures = count_failures(rows)
    run_logger.info("clips: %s", _join_counts(rows))
    for one in failures[:NUM_LOGGED_ERRORS]:
        run_logger.warning("%d failed (%s): %s; such as %s", one.num_rows, one.prospect, one.error, one.url)
    if left := failures[NUM_LOGGED_ERRORS:]:
        num_left = sum(one.num_rows for one in left)
        run_logger.warning(
            "%d failed with %d other errors: see data/ledger/clips.parquet", num_left, len(left)
        )


def log_doubts(assignment: Assignment, disjointness: Disjointness) -> None:
    """Warn of people in both splits, of identities that look alike, and of clips left out for their split."""
    run_logger = get_run_logger()
    if disjointness.is_disjoint is False:
        run_logger.warning("train and test are not identity-disjoint: %s", disjointness.reason)
    elif disjointness.is_disjoint is None:
        run_logger.warning("it is not known whether people are in both splits: %s", disjointness.reason)
    for one, other in assignment.lookalikes:
        run_logger.warning("identities %s and %s in data/sources.csv look like one person", one, other)
    if assignment.num_clashes:
        run_logger.warning(
            "%d clips are left out (%s): they show people whose earlier clips are in the other split, which "
            "new sources do not move; to keep them, list one split for all videos of these people",
            assignment.num_clashes,
            OTHER_SPLIT,
        )


def _join_counts(rows: Sequence[ClipRow]) -> str:
    return ", ".join(f"{count} {word}" for word, count in count_clips(rows).items())
