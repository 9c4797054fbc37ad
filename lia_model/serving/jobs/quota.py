"""Which ended jobs have to go so that what is kept on the disk stays within its quota."""

from collections.abc import Iterable

from lia_model.serving.jobs.job import Job


def to_remove(ended: Iterable[Job], num_stored_bytes: int, max_stored_bytes: int) -> list[Job]:
    """Return the jobs to remove, as few as suffice.

    Args:
        ended: jobs whose files may go, in the order in which they are to go.
        num_stored_bytes: size of all jobs' files.
        max_stored_bytes: the quota.
    """
    chosen = []
    for job in ended:
        if num_stored_bytes <= max_stored_bytes:
            break
        if job.order.stored_bytes > 0:
            num_stored_bytes -= job.order.stored_bytes
            chosen.append(job)
    return chosen
