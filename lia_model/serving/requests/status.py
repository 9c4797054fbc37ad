"""What the service tells of a job: its status and URLs."""

from typing import Any

from lia_model.serving.jobs.job import Job
from lia_model.serving.messages import AnimationLinks, AnimationStatus, BatchItemStatus, BatchLinks


def links_of(job_id: str) -> AnimationLinks:
    """Return the URLs of an animation."""
    itself = f"/v1/animations/{job_id}"
    return AnimationLinks(itself=itself, video=f"{itself}/video")


def batch_links_of(batch: str) -> BatchLinks:
    """Return the URLs of a batch."""
    return BatchLinks(itself=f"/v1/batches/{batch}")


def status_of(job: Job) -> AnimationStatus:
    """Return the status of a job."""
    return AnimationStatus(**_progress(job), batch=job.batch, links=links_of(job.id))


def item_status_of(index: int, job: Job) -> BatchItemStatus:
    """Return the status of a job as the item of its batch."""
    return BatchItemStatus(
        **_progress(job),
        index=index,
        source=str(job.order.source),
        driving=str(job.order.driving),
        mode=job.order.options.mode,
        output=str(job.order.output),
    )


def _progress(job: Job) -> dict[str, Any]:
    total = job.frames_total
    return {
        "id": job.id,
        "status": job.status,
        "progress": min(job.frames_done / total, 1.0) if total else 0.0,
        "frames_done": job.frames_done,
        "frames_total": total,
        "error": job.order.error,
        "warnings": list(job.warnings),
        "model": job.order.model,
        "submitted_s": job.submitted_s,
        "started_s": job.started_s,
        "ended_s": job.ended_s,
        "correlation_id": job.order.correlation_id,
    }
