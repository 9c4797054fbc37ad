"""What MLflow shows above the metrics of a training run: what their names stand for."""

from __future__ import annotations

RUN = """\
Restarts continue this run and its curves. The step counts updates of the weights.

- `loss/…`: unweighted; means since the value before; images are in [-1, 1]
- `gradient_norm/…`: before clipping
- `speed/…`: `pairs_per_s` of all ranks together, `data_wait_share` of the rank that waited longest, `mfu` \
(model FLOP utilization) on GPUs whose peak is known
- `validation/…`: of the averaged weights on fixed held-out pairs; L1 of images in [0, 1]; `…_of_copying` is \
the source frame, unchanged; `l1_turned_…` is over the frames whose head is turned so far; `other_people_…` \
is over clips that do not choose the best weights; `seconds` is the cost
- `system/…`: of each rank's machine; memory in GB, use in percent
- images: `strip` shows training pairs, `validation_…` held-out ones (rows: source, driving, result) and \
what each motion direction does
"""


def of_sweep(metric: str) -> str:
    """Return the description of a sweep's parent run."""
    return (
        f"A sweep (`lia sweep`): its child runs are the trials, ranked by `{metric}`. It has no metrics "
        "of its own.\n"
    )
