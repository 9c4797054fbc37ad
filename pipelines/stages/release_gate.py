"""The gate of a release: measures the challenger beside the champion, and keeps what it measured on."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lia_model.animator import Animator
from lia_model.data.pair_choice import choose_pairs, sample_evenly
from lia_model.data.pair_list import PairList, write_pair_list
from lia_model.data.pair_reader import PairReader
from lia_model.evaluation.champion import gate
from lia_model.evaluation.champion.cost import CostComparison
from lia_model.evaluation.champion.cost_probe import measure_costs
from lia_model.evaluation.champion.gate import Verdict
from lia_model.evaluation.champion.gate_evidence import CHALLENGER, CHAMPION, measure
from lia_model.evaluation.scores import EvaluatedModel
from lia_model.registry import models
from lia_model.registry.golden_pair import GoldenPair, GoldenPairError, log_golden_pair
from lia_model.registry.runs import Run
from lia_model.settings import CostSettings, EvaluateSettings, GoldenSettings, ReleaseSettings
from preprocessing.sandbox.child_server import ChildError
from preprocessing.shards.manifest import read_manifest

ARTIFACTS = "release"
"""Folder of a run with the pairs and the verdict of its latest release."""
LISTED = "evaluation_list.json"
"""File in it with the pairs."""


@dataclass(frozen=True)
class Challenger:
    """A version that asks to become champion."""

    name: str
    version: str
    checkpoint: Path
    """Directory that it was registered from."""
    run: Run
    """That trained it."""

    @property
    def uri(self) -> str:
        """Return its model URI."""
        return f"models:/{self.name}/{self.version}"


def pass_gate(
    challenger: Challenger,
    champion: str | None,
    settings: ReleaseSettings,
    evaluation: EvaluateSettings,
    shards: Path,
) -> Verdict:
    """Measure the challenger, copying the source and the champion now, on the same pairs; return the verdict.

    Pairs, verdict and golden pair are logged to the challenger's run.

    Args:
        challenger: the registered version.
        champion: the champion's version; None if there is none.
        settings: of the release.
        evaluation: how models are measured.
        shards: of the project.
    """
    manifest = read_manifest(shards)
    refusal = gate.check_list(
        is_identity_disjoint=manifest.identity_disjoint, allow_by_time=settings.allow_by_time
    )
    if refusal is not None:
        return refusal
    uris = [challenger.uri, *([] if champion is None else [f"models:/{settings.name}/{champion}"])]
    try:
        reader = PairReader(shards)
        evaluated = [
            EvaluatedModel.load(role, uri, evaluation)
            for role, uri in zip((CHALLENGER, CHAMPION), uris, strict=False)
        ]
        pairs = choose_pairs(reader, evaluation, ("reconstruction",))
        evidence = measure(evaluated[0], evaluated[1] if champion else None, reader, pairs, evaluation)
        if not manifest.identity_disjoint:
            evidence = dataclasses.replace(evidence, people_unknown=manifest.identity_disjoint_reason)
        keep_golden_pair(challenger, evaluated[0], reader, pairs, settings.golden)
        if settings.cost is not None:
            evidence = dataclasses.replace(evidence, costs=compare_costs(uris, settings.cost, evaluation))
    except (ValueError, GoldenPairError, ChildError) as error:
        # No held-out clips, or a model of another size: what it says is for the operator.
        return gate.refusal(f"it cannot be compared: {error}")
    verdict = gate.decide(evidence, settings.metric)
    with tempfile.TemporaryDirectory() as folder:
        listed, judged = Path(folder) / LISTED, Path(folder) / "verdict.json"
        write_pair_list(pairs, listed)
        judged.write_text(json.dumps(asdict(verdict) | {"evidence": asdict(evidence)}, default=str) + "\n")
        for file in (listed, judged):
            challenger.run.log_file(file, ARTIFACTS)
    return verdict


def keep_golden_pair(
    challenger: Challenger,
    loaded: EvaluatedModel,
    reader: PairReader,
    pairs: PairList,
    settings: GoldenSettings,
) -> None:
    """Keep what the trained checkpoint makes of the first pair; check that the registered version does too.

    Raises:
        GoldenPairError: it makes something else.
        ValueError: there is no pair.
    """
    registered = loaded.animator
    assert registered is not None
    if not pairs.pairs:
        raise ValueError("no held-out clip can be a golden pair")
    chosen = pairs.pairs[0]
    shortened = chosen.model_copy(update={"frames": sample_evenly(chosen.frames, settings.num_frames)})
    item = reader.read(shortened)
    trained = Animator.load(challenger.checkpoint, str(registered.device), registered.precision)
    frames = np.stack(list(trained.animate(item.source, item.frames, shortened.mode)))
    pair = GoldenPair(item.source, item.frames, shortened.mode, frames, settings.max_difference)
    pair.require(registered.animate, challenger.uri)
    clips = f"{chosen.source.clip}--{chosen.driving}"
    log_golden_pair(pair, challenger.name, challenger.version, clips, challenger.run)


def compare_costs(uris: list[str], settings: CostSettings, evaluation: EvaluateSettings) -> CostComparison:
    """Measure time and memory of the challenger and, if there is one, the champion.

    Args:
        uris: of the challenger and the champion.
        settings: limits, and how much is measured.
        evaluation: device and precision.

    Raises:
        ChildError: a process that measured one of them died.
    """
    costs = measure_costs([models.resolve(uri).directory for uri in uris], settings, evaluation)
    where = f"on {evaluation.device} in {evaluation.precision}"
    return CostComparison(costs[0], costs[1] if len(costs) > 1 else None, settings, where)
