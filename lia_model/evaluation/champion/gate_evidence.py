"""Measures a challenger, copying the source and the champion on one list of held-out pairs, for the gate."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lia_model.data.pair_choice import deciding_clips, identity_of
from lia_model.data.pair_list import PairList, pair_list_sha256
from lia_model.data.pair_reader import PairReader
from lia_model.evaluation.champion.gate import BETTER_THAN_COPYING, NOT_WORSE_THAN_CHAMPION, Evidence
from lia_model.evaluation.paired_comparison import Comparison, compare
from lia_model.evaluation.scores import COPY_SOURCE, EvaluatedModel, Instruments, Score, evaluate
from lia_model.evaluation.summary import clip_means
from lia_model.settings import EvaluateSettings

CHALLENGER = "challenger"
CHAMPION = "champion"


def measure(
    challenger: EvaluatedModel,
    champion: EvaluatedModel | None,
    reader: PairReader,
    pairs: PairList,
    settings: EvaluateSettings,
) -> Evidence:
    """Measure both models on the reconstruction pairs of a list.

    Args:
        challenger: named `CHALLENGER`.
        champion: named `CHAMPION`; None if no version is champion.
        reader: of the shards that hold the pairs.
        pairs: the list.
        settings: of the evaluation; its seed and number of resamples decide the intervals.

    Raises:
        ValueError: a model's images have another size than the shards'.
    """
    instruments = Instruments.open_for_gate(settings)
    evaluated = [challenger, EvaluatedModel(COPY_SOURCE, None), *([] if champion is None else [champion])]
    scores = evaluate(evaluated, reader, pairs, instruments, settings.batch_size)
    driving = {score.driving.key: score.driving for score in scores}.values()
    deciding = {clip.key for clip in deciding_clips(driving)}
    others = {clip.key for clip in driving} - deciding
    table = _Table(scores, settings)
    champion_version = None if champion is None else champion.version
    comparisons = Evidence(
        copying=table.against(COPY_SOURCE, "copying the source", BETTER_THAN_COPYING, deciding),
        champion_version=champion_version,
        champion={}
        if champion is None
        else table.against(
            CHAMPION, f"champion version {champion_version}", NOT_WORSE_THAN_CHAMPION, deciding
        ),
        other_people=table.against(COPY_SOURCE, "copying the source", BETTER_THAN_COPYING, others),
        is_by_time=any(clip.by_time for clip in driving),
        not_compared=[one for one in instruments.skipped if one.what in NOT_WORSE_THAN_CHAMPION],
        list_sha256=pair_list_sha256(pairs),
    )
    return comparisons


class _Table:
    """The values of every clip, and who it shows."""

    def __init__(self, scores: Sequence[Score], settings: EvaluateSettings) -> None:
        self._scores = scores
        self._people = {score.driving.key: identity_of(score.driving) for score in scores}
        self._resampling = settings.num_resamples, settings.seed

    def against(
        self, other: str, against: str, metrics: Sequence[str], clips: Collection[str]
    ) -> dict[str, Comparison]:
        """Compare the challenger with another model on some clips, in every metric both have values of."""
        found = {name: self._compare(name, other, against, clips) for name in metrics}
        return {name: each for name, each in found.items() if each is not None}

    def _compare(self, metric: str, other: str, against: str, clips: Collection[str]) -> Comparison | None:
        ours, theirs = (
            {
                clip: value
                for clip, value in clip_means(self._scores, "reconstruction", model, metric).items()
                if clip in clips
            }
            for model in (CHALLENGER, other)
        )
        return compare(metric, against, ours, theirs, self._people, self._resampling)
