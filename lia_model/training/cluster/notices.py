"""What calls for a checkpoint before its time: nodes that will be taken away, and nodes that have joined.

Every rank asks at the same steps and gets the same answer.
"""

from __future__ import annotations

import logging

import ray
import ray.train

from lia_model.training.cluster.room import Wanted
from lia_model.training.data_parallel import DataParallel, of_all_ranks

log = logging.getLogger(__name__)


class PreemptionNotice:
    """Tells once of each notice that nodes will be taken away."""

    def __init__(self) -> None:
        self._known_ms: set[int | None] = set()

    def __call__(self) -> bool:
        """Return whether there is a new notice."""
        notice = ray.train.get_preemption_info()
        if notice is None or notice.deadline_ms in self._known_ms:
            return False
        self._known_ms.add(notice.deadline_ms)
        log.warning("the nodes of ranks %s will be taken away: a checkpoint is due", notice.preempted_ranks)
        return True


class RoomForMore:
    """Tells once whenever an elastic run has room for more workers.

    Ray looks for it once a minute and then ends the workers without a notice, to start more of them: what
    they have done since the last checkpoint is done again.

    Args:
        wanted: by the training.
        parallel: this worker among those of the run at present.
        max_num_workers: that the run may have.
    """

    def __init__(self, wanted: Wanted, parallel: DataParallel, max_num_workers: int) -> None:
        self._wanted = wanted
        self._rank = parallel.rank
        self._num_workers = parallel.num_ranks
        self._max_num_workers = max_num_workers
        self._known = parallel.num_ranks

    def __call__(self) -> bool:
        """Return whether there is room for more workers than there was when it was asked last."""
        if self._num_workers == self._max_num_workers:
            return False
        # Two ranks that ask may get different answers.
        num_fitting = of_all_ranks(self._wanted.num_fitting(ray.nodes()) if self._rank == 0 else 0)[0]
        num_possible = max(self._num_workers, min(num_fitting, self._max_num_workers))
        known, self._known = self._known, num_possible
        if num_possible <= known:
            return False
        log.info(
            "there is room for %d workers instead of %d: a checkpoint is due, before Ray starts them again",
            num_possible,
            self._num_workers,
        )
        return True
