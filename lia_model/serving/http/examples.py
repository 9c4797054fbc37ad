"""Examples of the calls of the HTTP interface, by method and path, for its description."""

from typing import Any

_JOB = "0123456789abcdef0123456789abcdef"
_BATCH = "fedcba9876543210fedcba9876543210"
_LINKS = {"self": f"/v1/animations/{_JOB}", "video": f"/v1/animations/{_JOB}/video"}
_BATCH_LINKS = {"self": f"/v1/batches/{_BATCH}"}
_PROGRESS: dict[str, Any] = {
    "id": _JOB,
    "status": "running",
    "progress": 0.25,
    "frames_done": 30,
    "frames_total": 120,
    "error": None,
    "warnings": [],
    "model": {"name": "lia", "version": "3"},
    "submitted_s": 1795651200.0,
    "started_s": 1795651201.5,
    "ended_s": None,
    "correlation_id": None,
}
_ANIMATION = {**_PROGRESS, "batch": None, "links": _LINKS}

_DIRECTION = {"number": 3, "name": "smile", "min": -3.0, "max": 3.0}
_SQUARE = {"left": 220.0, "top": 60.0, "right": 420.0, "bottom": 260.0}

PARAMETERS: dict[str, Any] = {"job_id": _JOB, "batch_id": _BATCH, "number": 3, "name": "single_face.mp4"}
"""Values of parameters in the path."""
REQUESTS: dict[str, Any] = {
    "POST /v1/animations": {
        "source": "(bytes of portrait.jpg)",
        "driving": "(bytes of talking.mp4)",
        "mode": "relative",
        "side_by_side": "true",
        "directions": "1,4",
        "size_px": "256",
    },
    "POST /v1/batches": {
        "items": [
            {
                "source": "data/portraits/anna.jpg",
                "driving": "data/clips/talking.mp4",
                "mode": "relative",
                "name": "anna",
                "idempotency_key": "anna-talking-1",
            }
        ],
        "output": "out/batch",
    },
    "PUT /v1/directions/{number}": {"name": "smile"},
    "POST /v1/crops": {"picture": "(bytes of portrait.jpg)", "face": "largest"},
    "POST /v1/manipulations": {"source": "(bytes of portrait.jpg)", "weights": "0,0,1.5,0", "format": "jpeg"},
}
"""Bodies."""
ANSWERS: dict[str, Any] = {
    "POST /v1/animations": {"id": _JOB, "status": "queued", "links": _LINKS},
    "GET /v1/animations": {"animations": [_ANIMATION], "next": None},
    "GET /v1/animations/{job_id}": _ANIMATION,
    "POST /v1/batches": {"id": _BATCH, "status": "queued", "links": _BATCH_LINKS},
    "GET /v1/batches/{batch_id}": {
        "id": _BATCH,
        "status": "running",
        "counts": {"queued": 0, "running": 1, "succeeded": 0, "failed": 0, "cancelled": 0},
        "items": [
            {
                **_PROGRESS,
                "index": 0,
                "source": "/srv/lia/data/portraits/anna.jpg",
                "driving": "/srv/lia/data/clips/talking.mp4",
                "mode": "relative",
                "output": "/srv/lia/out/batch/anna.mp4",
            }
        ],
        "links": _BATCH_LINKS,
    },
    "GET /v1/directions": {
        "model": {"name": "lia", "version": "3"},
        "size_px": 256,
        "directions": [_DIRECTION],
    },
    "PUT /v1/directions/{number}": _DIRECTION,
    "POST /v1/crops": {"width": 640, "height": 360, "rule": "face", "faces": [_SQUARE], "square": _SQUARE},
    "GET /v1/samples": {"samples": [{"name": "single_face.mp4", "url": "/v1/samples/single_face.mp4"}]},
    "GET /v1/models": {
        "models": [{"name": "lia", "version": "3"}],
        "available": [
            {
                "name": "lia",
                "version": "3",
                "aliases": ["champion"],
                "is_default": True,
                "is_loaded": True,
                "licences": {
                    "detector": "non-commercial research only",
                    "features": "vgg16 trained on ImageNet, whose images are for non-commercial research",
                    "data": "CC BY 4.0 (120 videos)",
                },
            },
            {
                "name": "lia",
                "version": "2",
                "aliases": [],
                "is_default": False,
                "is_loaded": False,
                "licences": {},
            },
        ],
    },
    "GET /healthz": {"status": "ok"},
}
"""Bodies of the answers of calls that succeed with JSON."""
