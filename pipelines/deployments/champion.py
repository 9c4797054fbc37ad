"""The deployment that measures the champion again, on its frozen list and on new data, every night.

What it finds goes to runs/champion, to the run's page in Prefect and to the champion's MLflow run. Problems
emit the event `lia.champion.degraded`, on which an automation can act, and fail the run.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from pydantic import Field

from lia_model.data.pair_choice import choose_pairs
from lia_model.data.pair_list import PairList, pair_list_sha256, read_pair_list
from lia_model.data.pair_reader import PairReader
from lia_model.evaluation.champion.check import ChampionCheck, Limits
from lia_model.evaluation.champion.drift import shift
from lia_model.evaluation.champion.gate_evidence import CHALLENGER, measure
from lia_model.evaluation.scores import EvaluatedModel
from lia_model.registry import aliases
from lia_model.registry.golden_pair import GoldenPairError, fetch_golden_pair, require_golden_result
from lia_model.registry.origin import LIST_TAG
from lia_model.registry.runs import Run
from lia_model.registry.versions import Version, version_at
from lia_model.settings import EvaluateSettings
from pipelines.deployments.flow_run import deployed_environment
from pipelines.forgotten_sources import describe_forgotten, forgotten_sources
from pipelines.params import read_params
from pipelines.project_paths import ProjectPaths
from pipelines.stages.held_out_shards import held_out_shards
from pipelines.stages.release_gate import ARTIFACTS, LISTED
from preprocessing.ledger import ClipRow, read_clip_rows

EVENT = "lia.champion.degraded"
L1_TAG = "lia.gate_l1"
"""Tag of a version: its mean L1 on its list when it was judged."""
FOLDER = "champion"
"""Of a run's artifacts, for the reports on it."""
PROPERTIES = (
    "face_px",
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "brightness",
    "sharpness",
    "motion",
    "num_frames",
)
"""Columns of the ledger that are compared."""


class ChampionDegradedError(Exception):
    """The champion is worse than it was, or new data differs from what it was trained on."""


@flow(name="evaluate-champion", persist_result=False)
def evaluate_champion(
    name: str | None = None,
    max_loss: Annotated[float, Field(ge=0, le=1)] = 0.1,
    max_shift: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> None:
    """Measure the champion and fail if something is wrong.

    Args:
        name: registered name; None for `release.name`.
        max_loss: see `Limits`.
        max_shift: see `Limits`.

    Raises:
        ValueError: no version is champion.
        ChampionDegradedError: there are problems; the report names them.
    """
    environment = deployed_environment()
    environment.activate()
    paths, params = environment.paths, read_params(environment.paths.root / "params.yaml")
    limits = Limits(max_loss, max_shift)
    champion = version_at(aliases.champion_uri(name or params.release.name))
    settings = params.evaluate.with_paths_under(paths.root)
    with held_out_shards(paths.shards, params.train.shard_cache, environment.store()) as shards:
        check = check_champion(champion, settings, paths, shards)
    files = _write(check, limits, paths.runs / "champion")
    problems = check.problems(limits)
    create_markdown_artifact(key="champion", markdown=check.report(limits))
    if champion.run_id is not None:
        for file in files:
            Run(champion.run_id).log_file(file, FOLDER)
    if not problems:
        get_run_logger().info("%s is as good as it was; %s has the report", champion.label, files[0])
        return
    resource = {"prefect.resource.id": f"lia.model.{champion.name}", "lia.version": champion.version}
    emit_event(EVENT, resource, payload={"uri": champion.uri, "problems": problems})
    raise ChampionDegradedError(f"{champion.label}: {'; '.join(problems)}; {files[0]} has the report")


def check_champion(
    champion: Version, settings: EvaluateSettings, paths: ProjectPaths, shards: Path
) -> ChampionCheck:
    """Measure a champion on its frozen list and on the held-out clips of `shards`, and compare the clips."""
    reader = PairReader(shards)
    model = EvaluatedModel.load(CHALLENGER, champion.uri, settings)
    frozen, missing = None, None
    try:
        listed = frozen_list(champion)
        reader.require(listed)
        frozen = measure(model, None, reader, listed, settings).copying
    except ValueError as error:
        missing = str(error)
    chosen = choose_pairs(reader, settings, ("reconstruction",))
    present = measure(model, None, reader, chosen, settings).copying
    trained_on = set() if champion.run_id is None else Run(champion.run_id).source_keys()
    kept = [row for row in read_clip_rows(paths.ledger / "clips.parquet") if row.outcome == "kept"]
    trained = [row for row in kept if row.source_key in trained_on]
    new = [row for row in kept if row.source_key not in trained_on]
    at_release = champion.tags.get(L1_TAG)
    return ChampionCheck(
        uri=champion.uri,
        frozen=frozen,
        frozen_missing=missing,
        at_release=None if at_release is None else float(at_release),
        present=present or None,
        shifts=[shift(name, _values(trained, name), _values(new, name)) for name in PROPERTIES if new],
        num_people=len({row.identity for row in trained}),
        num_new_people=len({row.identity for row in new}),
        forgotten=forgotten_of(champion, paths.tombstones),
        golden=golden_problem(champion, model),
    )


def forgotten_of(champion: Version, tombstones: Path) -> str | None:
    """Return in words on which videos taken down since a version was trained; None if on none.

    Raises:
        ValueError: the tombstones cannot be read.
    """
    keys = [] if champion.run_id is None else forgotten_sources(Run(champion.run_id), tombstones)
    return describe_forgotten(keys) if keys else None


def golden_problem(champion: Version, model: EvaluatedModel) -> str | None:
    """Return why a loaded version's result for its golden pair is not that of its release; None if it is."""
    assert model.animator is not None
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch_golden_pair(champion.name, champion.version, Path(folder))
            require_golden_result(champion.name, champion.version, Path(folder), model.animator.animate)
        except GoldenPairError as error:
            return str(error)
    return None


def frozen_list(champion: Version) -> PairList:
    """Return the pairs on which the gate judged a version.

    Raises:
        ValueError: its run does not hold them, or the run was released again since.
    """
    if champion.run_id is None:
        raise ValueError(f"{champion.label} names no run that holds its list")
    with tempfile.TemporaryDirectory() as folder:
        file = Run(champion.run_id).fetch_file(f"{ARTIFACTS}/{LISTED}", Path(folder))
        listed = read_pair_list(file)
    wanted = champion.tags.get(LIST_TAG)
    if wanted is not None and pair_list_sha256(listed) != wanted:
        raise ValueError(
            f"the list in the run of {champion.label} is not the one it was judged on, since the run was "
            "released again later"
        )
    return listed


def _values(rows: Iterable[ClipRow], name: str) -> list[float]:
    found = (getattr(row, name) for row in rows)
    return [float(value) for value in found if value is not None]


def _write(check: ChampionCheck, limits: Limits, folder: Path) -> list[Path]:
    """Write the report, as a page and for programs, and return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    page, document = folder / "report.md", folder / "report.json"
    page.write_text(check.report(limits))
    document.write_text(json.dumps(check.document(limits), indent=1) + "\n")
    return [page, document]
