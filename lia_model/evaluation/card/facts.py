"""What the card of a registered version says, section by section, from facts on record alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lia_model.checkpoints.directory import CheckpointConfig
from lia_model.evaluation.champion.gate import Verdict
from lia_model.evaluation.metric_table import METRICS
from lia_model.evaluation.page import left_out
from lia_model.evaluation.page_tables import means_table
from lia_model.evaluation.scores import COPY_SOURCE, MODEL
from lia_model.registry.origin import Origin
from preprocessing.clips.crop import shows_faces
from preprocessing.html_page import Table
from preprocessing.settings import CropRule
from preprocessing.shards.manifest import Manifest, SplitListing

Record = Mapping[str, Any]

UNKNOWN = "not recorded"
SHOWN_PARAMS = (
    "num_steps",
    "global_batch_size",
    "precision",
    "losses.l1_weight",
    "losses.perceptual.backbone",
    "losses.perceptual.weight",
    "losses.adversarial.weight",
    "optimizer.generator_lr",
    "ema_decay",
    "seed",
)
"""Settings of the training that the card names; its run has all of them."""


@dataclass(frozen=True)
class Section:
    """A part of the card; what is empty is left out."""

    title: str
    paragraphs: Sequence[str] = ()
    terms: Sequence[tuple[str, str]] = ()
    """What and its value."""
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()
    code: str = ""


@dataclass(frozen=True)
class CardFacts:
    """What is on record of a version."""

    name: str
    version: str
    config: CheckpointConfig
    crop_rule: CropRule
    origin: Origin
    verdict: Verdict
    licences: Mapping[str, str]
    """By part, see `registry.licences`."""
    manifest: Manifest | None
    """Of the shards it was trained on; None if they are not at hand."""
    report: Record | None
    """Evaluation of these weights; None if there is none."""

    @property
    def uri(self) -> str:
        """Return the version's model URI."""
        return f"models:/{self.name}/{self.version}"

    @property
    def title(self) -> str:
        """Return the card's heading."""
        return f"{self.name} version {self.version}"

    @property
    def summary(self) -> str:
        """Return one line on what it is."""
        size = self.config.network.size_px
        return f"Animates a portrait by the motion of a driving video, at {size} x {size} px (LIA)."

    def sections(self) -> list[Section]:
        """Return the sections between the heading and the pictures."""
        return [
            self._verdict(),
            Section("Limits", points=list(self._limits())),
            self._measured(),
            Section("Data", terms=list(self._data())),
            Section("Licences", terms=list(self.licences.items())),
            Section("Training", terms=list(self._training())),
            self._loading(),
        ]

    def _verdict(self) -> Section:
        return Section("Release gate", [f"{self.verdict.reason}."], points=self.verdict.details)

    def _measured(self) -> Section:
        if self.report is None:
            return Section(
                "Evaluation", ["No evaluation of these weights is on record; `lia evaluate` makes one."]
            )
        tables = [means_table(self.report, protocol) for protocol in ("reconstruction", "cross_identity")]
        num = self.report["num_clips"]
        return Section(
            "Evaluation",
            [
                f"Means over {num} held-out clip{'s' if num != 1 else ''}, with 95 % intervals over clips. "
                "↓ lower is better, ↑ higher is better."
            ],
            tables=[table for table in tables if table is not None],
        )

    def _data(self) -> Iterator[tuple[str, str]]:
        yield "version", self.origin.data_digest or UNKNOWN
        keys = self.origin.source_keys
        yield "training videos", str(len(keys)) if keys else UNKNOWN
        if self.manifest is None:
            yield "clips and people", f"{UNKNOWN}: the shards it was trained on are not at hand"
            return
        for split, listing in (
            ("trained on", self.manifest.splits.train),
            ("held out", self.manifest.splits.test),
        ):
            yield split, _amount(listing)
        known = {True: "none", False: "some", None: "not known"}[self.manifest.identity_disjoint]
        yield "people in both", f"{known}: {self.manifest.identity_disjoint_reason}"
        crop = self.manifest.crop
        yield "frames", f"{self.manifest.size_px} px, {self.manifest.fps} fps, cropped by rule {crop.rule}"
        yield "detector", self.manifest.detector.name or UNKNOWN

    def _training(self) -> Iterator[tuple[str, str]]:
        yield "run", f"{self.origin.run_name or UNKNOWN} ({self.origin.run_id})"
        yield "commit", self.origin.commit or UNKNOWN
        network = self.config.network
        yield (
            "network",
            f"width {network.width:g}, latent code {network.latent_dim}, {network.num_directions} directions",
        )
        parent = self.origin.parent
        yield "started from", "random weights" if parent is None else parent.uri
        yield from ((name, self.origin.params[name]) for name in SHOWN_PARAMS if name in self.origin.params)

    def _limits(self) -> Iterator[str]:
        size = self.config.network.size_px
        yield f"Results are {size} x {size} px; what is larger is scaled down."
        if shows_faces(self.crop_rule):
            yield "Trained on cropped faces: pictures without a detectable face cannot be animated."
        else:
            yield f"Trained without face detection (crop rule {self.crop_rule}): give it similar pictures."
        worse = self.verdict.tags.get("lia.worse_than_copying")
        if worse:
            yield f"Worse than copying the source picture: {worse}."
        yield from self._limits_of_evidence()
        if any("non-commercial" in note or "research" in note for note in self.licences.values()):
            yield "Not for commercial use: see Licences."

    def _limits_of_evidence(self) -> Iterator[str]:
        if self.manifest is not None and self.manifest.identity_disjoint is False:
            yield "Held-out clips that are split by time say nothing about people it was not trained on."
        if self.manifest is not None and self.manifest.identity_disjoint is None:
            reason = self.manifest.identity_disjoint_reason
            yield f"It is not known whether the held-out clips show people it was trained on: {reason}."
        if self.manifest is not None and not self.manifest.complete:
            yield "Some listed videos were missing when the shards were made."
        if self.report is None:
            yield "Not evaluated beyond the release gate."
            return
        worse = worse_than_copying(self.report)
        if worse:
            yield f"In the evaluation it is not better than copying the source picture in {', '.join(worse)}."
        for reason, names in left_out(self.report["skipped"]).items():
            yield f"Not measured: {', '.join(names)}: {reason}."

    def _loading(self) -> Section:
        side = self.config.network.size_px
        return Section(
            "How to load it",
            [
                "Input: `source`, uint8 RGB [1, H, W, 3], and `driving`, uint8 RGB [T, H, W, 3], cropped as "
                "in training; the parameter `mode` is `relative` or `absolute`. "
                f"Output: uint8 RGB [T, {side}, {side}, 3]."
            ],
            code=f"""\
import mlflow.pyfunc                              # in any folder, with the version's requirements alone
model = mlflow.pyfunc.load_model("{self.uri}")
frames = model.predict({{"source": source, "driving": driving}}, params={{"mode": "relative"}})

from lia_model.animator import Animator           # in this project, frame by frame
animator = Animator.load("{self.uri}")

# lia animate portrait.jpg talking.mp4 -o out.mp4 --model {self.uri}
""",
        )


def worse_than_copying(report: Record) -> list[str]:
    """Return the labels of the metrics in which the evaluated model is not better than copying the source."""
    means = {
        (entry["model"], entry["metric"]): entry["mean"]
        for entry in report["summary"]
        if entry["protocol"] == "reconstruction"
    }
    return [
        metric.label
        for name, metric in METRICS.items()
        if (MODEL, name) in means
        and (COPY_SOURCE, name) in means
        and not metric.is_better(means[MODEL, name], means[COPY_SOURCE, name])
    ]


def _amount(listing: SplitListing) -> str:
    by_time = listing.num_by_time
    amounts = [
        _counted(listing.num_people, "person", "people"),
        _counted(listing.num_videos, "video", "videos"),
        _counted(listing.num_clips, "clip", "clips"),
        _counted(listing.num_frames, "frame", "frames"),
    ]
    return ", ".join(amounts) + (f"; {by_time} of the clips split by time" if by_time else "")


def _counted(num: int, one: str, many: str) -> str:
    return f"{num:,} {one if num == 1 else many}"
