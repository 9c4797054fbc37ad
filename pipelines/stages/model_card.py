"""The card of a released version: gathers what is on record, and leaves the card with the version's run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lia_model.checkpoints.crop_record import read_crop
from lia_model.checkpoints.directory import GENERATOR, read_config
from lia_model.evaluation.card.facts import CardFacts
from lia_model.evaluation.card.markdown import artifact_address, card_description, card_markdown
from lia_model.evaluation.card.page import card_page
from lia_model.evaluation.champion.gate import Verdict
from lia_model.evaluation.page_pictures import picture_name, reconstruction_strips, transfer_strips
from lia_model.evaluation.scores import MODEL
from lia_model.registry.licences import gather_licences
from lia_model.registry.origin import origin_of
from lia_model.registry.runs import CARDS, EVALUATION, EVALUATION_PICTURES, Run
from pipelines.project_paths import ProjectPaths
from preprocessing.html_page import Strip
from preprocessing.ledger import iterate_sources
from preprocessing.shards.manifest import Manifest, data_digest, read_manifest
from preprocessing.storage.files import file_sha256


@dataclass(frozen=True)
class CardContent:
    """What a card shows: the facts, and pictures of held-out pairs."""

    facts: CardFacts
    strips: Sequence[Strip] = ()


def find_licences(checkpoint: Path, run: Run, paths: ProjectPaths) -> dict[str, str]:
    """Return the licences that limit the use of a checkpoint, by part."""
    provenance = read_config(checkpoint).provenance
    manifest = _manifest_of(provenance, paths.shards)
    trained_on = run.source_keys()
    listed: dict[str, str | None] = dict.fromkeys(trained_on)
    if paths.source_ledger.is_file():
        listed |= {
            source.key: source.licence
            for source in iterate_sources(paths.source_ledger)
            if source.key in trained_on
        }
    return gather_licences(manifest and manifest.detector.licence_note, provenance, listed.values())


def card_content(
    checkpoint: Path,
    uri: tuple[str, str],
    verdict: Verdict,
    licences: Mapping[str, str],
    run: Run,
    shards: Path,
) -> CardContent:
    """Gather what is on record of a version.

    Args:
        checkpoint: its directory.
        uri: its registered name and version.
        verdict: of the gate.
        licences: by part.
        run: that trained it, which holds its evaluation.
        shards: of the project.
    """
    config = read_config(checkpoint)
    name, version = uri
    with tempfile.TemporaryDirectory() as folder:
        evaluation = _evaluation_of(checkpoint, run, Path(folder))
        report = None if evaluation is None else json.loads((evaluation / "evaluate.json").read_text())
        facts = CardFacts(
            name=name,
            version=version,
            config=config,
            crop_rule=read_crop(checkpoint).rule,
            origin=origin_of(f"models:/{name}/{version}"),
            verdict=verdict,
            licences=licences,
            manifest=_manifest_of(config.provenance, shards),
            report=report,
        )
        return CardContent(facts, [] if evaluation is None or report is None else _strips(report, evaluation))


def write_card(content: CardContent, run: Run) -> str:
    """Leave the card with the run, as Markdown and as a page; return it as the version's description."""
    facts, strips = content.facts, content.strips
    stem = f"{facts.name}-{facts.version}"
    pictures = [(strip.title, f"{EVALUATION_PICTURES}/{strip.shows}.png") for strip in strips]
    with tempfile.TemporaryDirectory() as folder:
        page, text = Path(folder) / f"{stem}.html", Path(folder) / f"{stem}.md"
        page.write_text(card_page(facts, strips), encoding="utf-8")
        # Beside the card's folder lies that of the pictures.
        beside = [(title, f"../{path}") for title, path in pictures]
        text.write_text(card_markdown(facts, beside), encoding="utf-8")
        for file in (page, text):
            run.log_file(file, CARDS)
    served = [(title, artifact_address(run.run_id, path)) for title, path in pictures]
    return card_description(card_markdown(facts, served), run.run_id, f"{CARDS}/{stem}.md")


def _manifest_of(provenance: Mapping[str, Any], shards: Path) -> Manifest | None:
    """Return the manifest of the shards here if the checkpoint was trained on them."""
    manifest = read_manifest(shards)
    return manifest if provenance.get("data_digest") == data_digest(manifest) else None


def _evaluation_of(checkpoint: Path, run: Run, folder: Path) -> Path | None:
    """Fetch the evaluation of a checkpoint from its run; None if there is none of these weights."""
    if EVALUATION not in run.file_names(""):
        return None
    found = run.fetch_file(EVALUATION, folder)
    report = json.loads((found / "evaluate.json").read_text())
    measured = {one["name"]: one["weights_sha256"] for one in report["models"]}
    return found if measured[MODEL] == file_sha256(checkpoint / GENERATOR) else None


def _strips(report: Mapping[str, Any], evaluation: Path) -> list[Strip]:
    from pyarrow import parquet

    rows = parquet.read_table(evaluation / "clips.parquet").to_pylist()
    pictures = evaluation / "pictures"
    # After a takedown, pictures are missing.
    shown = [row for row in rows if (pictures / picture_name(row)).is_file()]
    clips = {row["clip"] for row in shown if row["protocol"] == "reconstruction"}
    left = {**report, "clips": [one for one in report["clips"] if one["clip"] in clips]}
    return [*reconstruction_strips(left, shown, pictures), *transfer_strips(left, shown, pictures)]
