"""metrics/evaluation.html: an evaluation to look at, in one file with its pictures inside.

Numbers with their intervals, the best, median and worst clips, every clip, published numbers with their
protocols, and what was not computed. `page_facts` gathers all of it; `page.html` lays it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lia_model.evaluation.metric_table import METRICS
from lia_model.evaluation.page_pictures import reconstruction_strips, transfer_strips
from lia_model.evaluation.page_tables import (
    clip_tables,
    literature_table,
    means_table,
    model_name,
    set_distance_table,
)
from preprocessing.html_page import Strip, Table, render
from preprocessing.shards.manifest import Manifest

Record = Mapping[str, Any]
SPLIT_WORDS = {
    True: "identity-disjoint",
    False: "split in part by time",
    None: "people in both splits unknown",
}


@dataclass(frozen=True)
class Transfer:
    """Other identities: how many pairs were animated, and what was measured."""

    num_pairs: int
    mode: str
    """Motion mode."""
    num_unknown_identities: int
    """Held-out clips without a named identity."""
    means: Table | None
    """None where nothing was computed."""


@dataclass(frozen=True)
class MeasuredModel:
    """A model and the file its numbers come from."""

    name: str
    weights_sha256: str
    version: str | None
    """Of a registered model."""


@dataclass(frozen=True)
class PageFacts:
    """What the page shows."""

    protocol: str
    identity_disjoint: bool | None
    """None if it is not known whether train and test have people in common."""
    identity_disjoint_reason: str
    reconstruction: Table | None
    """None where nothing was computed."""
    transfer: Transfer | None
    why_no_transfer: str
    """Empty where there is a transfer."""
    set_distances: Table | None
    strips: Sequence[Strip]
    clip_tables: Sequence[Table]
    literature: Table
    not_computed: Mapping[str, Sequence[str]]
    """Names of metrics and protocols by the reason they are missing."""
    meanings: Sequence[tuple[str, str]]
    """Heading and meaning of each metric that was computed."""
    list_sha256: str
    """Of evaluation_list.json."""
    manifest_sha256: str
    models: Sequence[MeasuredModel]


def evaluation_page(report: Record, rows: Sequence[Record], manifest: Manifest, pictures: Path) -> str:
    """Lay an evaluation out as HTML.

    Args:
        report: the content of evaluate.json.
        rows: the table of clips, a row for each pair and model.
        manifest: that of the shards.
        pictures: folder of the pairs' pictures, named by `picture_name`.
    """
    return render(Path(__file__).with_suffix(".html"), facts=page_facts(report, rows, manifest, pictures))


def page_facts(report: Record, rows: Sequence[Record], manifest: Manifest, pictures: Path) -> PageFacts:
    """Gather what the page shows; see `evaluation_page` for the arguments."""
    protocol = describe_protocol(report, manifest)
    transfer = _transfer(report, rows)
    return PageFacts(
        protocol=protocol,
        identity_disjoint=report["identity_disjoint"],
        identity_disjoint_reason=report["identity_disjoint_reason"],
        reconstruction=means_table(report, "reconstruction"),
        transfer=transfer,
        why_no_transfer="" if transfer else _reason(report, "cross_identity"),
        set_distances=set_distance_table(report),
        strips=[*reconstruction_strips(report, rows, pictures), *transfer_strips(report, rows, pictures)],
        clip_tables=clip_tables(report, rows),
        literature=literature_table(report, protocol),
        not_computed=left_out(report["skipped"]),
        meanings=_meanings(report),
        list_sha256=_sha256(report, "evaluation_list.json"),
        manifest_sha256=_sha256(report, "manifest.json"),
        models=[
            MeasuredModel(model_name(one["name"]), one["weights_sha256"], one["version"])
            for one in report["models"]
            if one["weights_sha256"] is not None
        ],
    )


def describe_protocol(report: Record, manifest: Manifest) -> str:
    """Return one line on what our numbers were measured on, and with which networks."""
    split = SPLIT_WORDS[report["identity_disjoint"]]
    crop = manifest.crop.rule
    frames = sum(len(numbers) for numbers in report["frames"].values())
    num = report["num_clips"]
    measured_by = _networks(report)
    faces = "no landmark model"
    if "akd" in measured_by:
        faces = f"landmarks by {measured_by['akd']}, identity by {measured_by['aed']}"
    return (
        f"{num} held-out clip{'s' if num != 1 else ''}, {frames} frames, {manifest.size_px} px, "
        f"{manifest.fps} fps, {crop}, {split}; shards {_sha256(report, 'manifest.json')[:12]}; "
        f"LPIPS with AlexNet; {faces}"
    )


def left_out(skipped: Sequence[Record]) -> dict[str, list[str]]:
    """Return the names of what was not computed, by reason."""
    reasons: dict[str, list[str]] = {}
    for one in skipped:
        name = METRICS[one["what"]].label if one["what"] in METRICS else one["what"].replace("_", "-")
        reasons.setdefault(one["reason"], []).append(name)
    return reasons


def _transfer(report: Record, rows: Sequence[Record]) -> Transfer | None:
    transfers = [row for row in rows if row["protocol"] == "cross_identity"]
    if not transfers:
        return None
    return Transfer(
        num_pairs=len({(row["clip"], row["source_clip"]) for row in transfers}),
        mode=transfers[0]["mode"],
        num_unknown_identities=report["num_unknown_identities"],
        means=means_table(report, "cross_identity"),
    )


def _reason(report: Record, what: str) -> str:
    return next((one["reason"] for one in report["skipped"] if one["what"] == what), "no pairs in the list")


def _meanings(report: Record) -> list[tuple[str, str]]:
    computed = {entry["metric"] for entry in report["summary"]}
    networks = _networks(report)
    return [
        (
            metric.heading,
            metric.meaning + (f" ({networks[name]})" if name in networks and name != "lpips" else ""),
        )
        for name, metric in METRICS.items()
        if name in computed
    ]


def _networks(report: Record) -> dict[str, str]:
    """Return the network behind each metric that has one."""
    return {name: one["model"] for one in report["measured_by"] for name in one["measures"]}


def _sha256(report: Record, file: str) -> str:
    return next(one["sha256"] for one in report["frozen"] if one["file"] == file)
