"""metrics/evaluation.html: an evaluation to look at, in one file with its pictures inside.

Numbers with their intervals, the best, median and worst clips, every clip, the published rows with their
protocols, and what was not computed.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from lia_model.evaluation.metric_table import METRICS, PIXEL_METRICS, PROTOCOL_METRICS

Row = Mapping[str, Any]

STYLE = """
:root{color-scheme:light dark;--line:#d5d8dc;--soft:#5b6470;--band:#f4f5f7;--ink:#1c2024;--page:#fff}
@media(prefers-color-scheme:dark){:root{--line:#3a4048;--soft:#a3acb8;--band:#21262c;--ink:#e6e8eb;--page:#15181c}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:0}
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;margin:0 0 .25rem}h2{font-size:1.3rem;margin:2.75rem 0 .5rem}
p{max-width:46rem;margin:.5rem 0}.soft{color:var(--soft)}.small{font-size:.875rem}
code{font-size:.875em;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:.75rem 0}.scroll.tall{max-height:32rem;overflow-y:auto}
.scroll:focus-visible{outline:2px solid #3b82c4;outline-offset:2px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{padding:.4rem .75rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:baseline;
white-space:nowrap}
th:first-child,td:first-child,td.text,th.text{text-align:left}
td.wrap{white-space:normal;overflow-wrap:anywhere;min-width:16rem;font-size:.875rem;font-weight:400}

thead th{font-weight:600;background:var(--band)}.tall thead th{position:sticky;top:0}
.tall th,.tall td{font-size:.875rem;padding:.3rem .5rem}
tbody th{font-weight:400}tr.ours{background:var(--band)}tr.ours th,tr.ours td:not(.wrap){font-weight:600}
.interval{display:block;font-size:.8rem;font-weight:400;color:var(--soft)}
figure{margin:1.25rem 0}figcaption{margin-bottom:.35rem}
.strip{max-width:54rem;display:grid;grid-template-columns:auto 1fr;gap:.6rem}
.strip div{display:grid;grid-auto-rows:1fr;align-items:center;font-size:.8rem;color:var(--soft);
max-width:9rem;overflow-wrap:anywhere}
.strip img{width:100%;display:block;border-radius:3px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;max-width:60rem}
dt{font-weight:600}dd{margin:0}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
"""


NAMES = {"model": "this model", "copy_source": "copying the source"}


class PublishedRow(NamedTuple):
    """Numbers of the literature, written as they are printed there."""

    method: str
    l1: str
    lpips: str
    psnr: str
    ssim: str
    source: str
    protocol: str


_LIA_X = "LIA-X, Table 1"
_VOX_483 = "VoxCelebHQ, 483 clips, same identity, the first frame animated by all"
PUBLISHED = (
    PublishedRow("FOMM", ".046", "—", "22.40", ".66", _LIA_X, _VOX_483),
    PublishedRow("TPSMM", ".043", ".112", "23.24", ".70", _LIA_X, _VOX_483),
    PublishedRow("MCNet", ".040", ".176", "23.73", ".72", _LIA_X, _VOX_483),
    PublishedRow("LIA (512)", ".052", ".211", "22.14", ".68", _LIA_X, _VOX_483),
    PublishedRow("LIA-X (256)", ".036", ".095", "24.82", ".73", _LIA_X, _VOX_483),
    PublishedRow("LIA (256)", "—", ".128", "22.11", ".786", "GHOST 2.0, Table 1", "VoxCeleb2"),
)
_TEXT_COLUMNS = ("by", "source", "protocol", "features")


def picture_name(row: Row) -> str:
    """Return the file name of a pair's picture."""
    if row["protocol"] == "reconstruction":
        return f"{row['clip']}.png"
    return f"{row['clip']}--{row['source_clip']}.png"


def evaluation_page(report: Row, rows: Sequence[Row], manifest: Row, pictures: Path) -> str:
    """Lay an evaluation out as HTML.

    Args:
        report: what evaluate.json holds.
        rows: the table of clips, a row for each pair and model.
        manifest: that of the shards.
        pictures: folder of the pairs' pictures, named by `picture_name`.
    """
    protocol = describe_protocol(report, manifest)
    body = [
        "<h1>Evaluation</h1>",
        f"<p class=soft>{escape(protocol)}</p>",
        _warning_of_split(report),
        "<h2>Same identity: reconstruction</h2>",
        "<p>The first frame of each held-out clip is animated by all its frames and compared with them.</p>",
        _summary_table(report, "reconstruction"),
        "<h2>Other identities: transfer</h2>",
        *_transfer(report, rows),
        "<p class='small soft'>Below each mean its 95 % interval, a bootstrap over clips; there is none with "
        "fewer than two clips. ↓ less is better, ↑ more is better.</p>",
        *_set_distances(report),
        "<h2>Pictures</h2>",
        *_pictures(report, rows, pictures),
        "<h2>Every clip</h2>",
        "<p>“Saved” is the share of copying's L1 that the model saves.</p>",
        *_clip_tables(report, rows),
        "<h2>Beside the literature</h2>",
        _published_table(report, protocol),
        "<h2>Not computed</h2>",
        _not_computed(report),
        "<h2>What the numbers mean</h2>",
        _meanings(report),
        "<h2>How to repeat this</h2>",
        _provenance(report),
    ]
    head = (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>Evaluation</title><style>{STYLE}</style></head>"
    )
    return f"{head}<body><main>\n" + "\n".join(filter(None, body)) + "\n</main></body></html>\n"


def describe_protocol(report: Row, manifest: Row) -> str:
    """Return in one line on what our numbers were measured."""
    split = "identity-disjoint" if report["identity_disjoint"] else "split in part by time"
    crop = manifest.get("crop", {}).get("rule", "unknown crop")
    frames = sum(len(numbers) for numbers in report["frames"].values())
    num = report["num_clips"]
    return (
        f"{num} held-out clip{'s' if num != 1 else ''}, {frames} frames, {manifest['size_px']} px, "
        f"{manifest['fps']} fps, {crop}, {split}; shards {_sha256(report, 'manifest.json')[:12]}; "
        f"LPIPS with AlexNet; {_face_models(report)}"
    )


def _face_models(report: Row) -> str:
    named = {name: one["model"] for one in report["measured_by"] for name in one["measures"]}
    if "akd" not in named:
        return "no landmark model"
    return f"landmarks by {named['akd']}, identity by {named['aed']}"


def _warning_of_split(report: Row) -> str:
    if report["identity_disjoint"]:
        return ""
    return (
        "<p><strong>Not identity-disjoint.</strong> Clips marked “by time” are the end of a video whose "
        "beginning was trained on; their numbers say nothing about other people.</p>"
    )


def _entries(report: Row, protocol: str) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for entry in report["summary"]:
        if entry["protocol"] == protocol:
            found.setdefault(entry["model"], {})[entry["metric"]] = entry
    return found


def _summary_table(report: Row, protocol: str) -> str:
    entries = _entries(report, protocol)
    columns = [name for name in PROTOCOL_METRICS[protocol] if any(name in one for one in entries.values())]
    if not columns:
        return "<p>Nothing was computed; the reasons stand below.</p>"
    lines = [
        (_name(model), [_interval_cell(name, one.get(name)) for name in columns], model == "model")
        for model, one in entries.items()
    ]
    return _table("Means over clips", ["", *map(_heading, columns)], lines)


def _transfer(report: Row, rows: Sequence[Row]) -> list[str]:
    pairs = {(row["clip"], row["source_clip"]) for row in rows if row["protocol"] == "cross_identity"}
    if not pairs:
        return [f"<p>Left out: {escape(_reason(report, 'cross_identity'))}.</p>"]
    mode = next(row["mode"] for row in rows if row["protocol"] == "cross_identity")
    return [
        f"<p>{len(pairs)} pairs: the first frame of another person's clip is animated by {mode} motion. "
        "There is no true result, and a high CSIM alone proves nothing: a good model keeps the person and "
        "follows the motion. The identity network is not the ArcFace of most papers, nor do its numbers "
        f"compare with theirs.{_unknown_identities(report)}</p>",
        _summary_table(report, "cross_identity"),
    ]


def _unknown_identities(report: Row) -> str:
    num = report["num_unknown_identities"]
    return f" {num} clips name no identity; each source video counts as another person." if num else ""


def _reason(report: Row, what: str) -> str:
    return next((one["reason"] for one in report["skipped"] if one["what"] == what), "no pairs in the list")


def _set_distances(report: Row) -> list[str]:
    if not report["set_distances"]:
        return []
    lines = [
        (
            _name(one["model"]),
            [
                _cell(one["metric"].upper()),
                _cell(one["protocol"].replace("_", "-"), "text"),
                _cell(f"{one['value']:.2f}"),
                _cell(f"{one['num_samples']} × {one['num_features']}"),
                _cell(f"{one['features_file']}, sha256 {one['features_sha256'][:12]}", "text"),
            ],
            one["model"] == "model",
        )
        for one in report["set_distances"]
    ]
    head = ["", *map(escape, ("metric", "protocol", "distance ↓", "samples × features", "features"))]
    note = (
        "<p class='small soft'>Results against the true held-out frames. With fewer samples than features "
        "the distance is much too large; it compares only at one number of samples and with one file.</p>"
    )
    return [_table("Distances of sets", head, lines), note]


def _pictures(report: Row, rows: Sequence[Row], pictures: Path) -> list[str]:
    checkpoints = [one["name"] for one in report["models"] if one["weights_sha256"] is not None]
    labels = ["source", "driving", *("result" if name == "model" else name for name in checkpoints)]
    by_key = {(row["clip"], row["protocol"]): row for row in rows if row["model"] == "model"}
    names = clip_names(rows)
    improvement = {one["clip"]: one["improvement"] for one in report["clips"]}
    figures = []
    for rank, key in _best_median_worst(improvement):
        row = by_key[key, "reconstruction"]
        remark = f"L1 {row['l1']:.4f}, {improvement[key]:+.1%} against copying"
        figures.append(_figure(f"{rank}: {names[row['clip']]}", remark, row, labels, pictures))
    transfers = [row for row in rows if (row["protocol"], row["model"]) == ("cross_identity", "model")]
    ranked = {
        str(number): -row["motion"] for number, row in enumerate(transfers) if row["motion"] is not None
    }
    # Without landmarks there is no order; any few show what transfer looks like.
    chosen = _best_median_worst(ranked) or [("Pair", str(number)) for number in range(min(3, len(transfers)))]
    for rank, number in chosen:
        row = transfers[int(number)]
        title = f"{rank} transfer: {names[row['clip']]} animates {Path(row['source_url']).name}"
        remark = ", ".join(
            f"{METRICS[name].label} {_number(name, row[name])}" for name in PROTOCOL_METRICS["cross_identity"]
        )
        figures.append(_figure(title, remark, row, labels, pictures))
    order = "<p>Best, median and worst by what they save of copying's L1; transfers by motion.</p>"
    return [order, *figures]


def _best_median_worst(values: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return (rank, key) of the highest, middle and lowest value; fewer where there are fewer."""
    order = sorted(values, key=lambda key: -values[key])
    if len(order) <= 1:
        return [("Only", key) for key in order]
    chosen = [("Best", order[0]), ("Worst", order[-1])]
    if len(order) > 2:
        chosen.insert(1, ("Median", order[len(order) // 2]))
    return chosen


def _figure(title: str, remark: str, row: Row, labels: Sequence[str], pictures: Path) -> str:
    data = base64.b64encode(_as_jpeg(pictures / picture_name(row))).decode()
    alt = f"{title}. Evenly spaced frames in {len(labels)} rows: {', '.join(labels)}."
    names = "".join(f"<span>{escape(label)}</span>" for label in labels)
    # By its id a page tells whom it shows, when somebody is to be forgotten.
    shown = PurePath(picture_name(row)).stem
    return (
        f"<figure id='{shown}'><figcaption><strong>{escape(title)}</strong> "
        f"<span class=soft>{escape(remark)}</span></figcaption>"
        f"<div class=strip><div aria-hidden=true>{names}</div>"
        f"<img alt='{escape(alt, quote=True)}' src='data:image/jpeg;base64,{data}'></div></figure>"
    )


def _as_jpeg(picture: Path) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("RGB").save(buffer, "jpeg", quality=92, subsampling=0)
    return buffer.getvalue()


def _clip_tables(report: Row, rows: Sequence[Row]) -> list[str]:
    names = clip_names(rows)
    improvement = {one["clip"]: one["improvement"] for one in report["clips"]}
    lines: dict[str, list[tuple[str, list[str], bool]]] = {"reconstruction": [], "cross_identity": []}
    for row in rows:
        protocol, is_ours = row["protocol"], row["model"] == "model"
        cells = [_cell(_name(row["model"]), "text"), _cell(str(row["num_frames"]))]
        cells += [_cell(_number(name, row[name])) for name in PROTOCOL_METRICS[protocol]]
        if protocol == "reconstruction":
            cells.append(_cell(f"{improvement[row['clip']]:+.1%}" if is_ours else "—"))
        else:
            cells.insert(1, _cell(Path(row["source_url"]).name, "text"))
        lines[protocol].append((names[row["clip"]], cells, False))
    heads = {
        protocol: [*map(_heading, metrics)]
        for protocol, metrics in PROTOCOL_METRICS.items()
        if lines[protocol]
    }
    tables = []
    if "reconstruction" in heads:
        head = ["clip", "by", "frames", *heads["reconstruction"], "saved"]
        tables.append(_table("Reconstruction", head, lines["reconstruction"], tall=True))
    if "cross_identity" in heads:
        head = ["driving clip", "by", "source", "frames", *heads["cross_identity"]]
        tables.append(_table("Transfer", head, lines["cross_identity"], tall=True))
    return tables


def _published_table(report: Row, protocol: str) -> str:
    lines = [
        (
            row.method,
            [
                *(_cell(getattr(row, name)) for name in PIXEL_METRICS),
                _cell(row.source, "text"),
                _cell(row.protocol, "text wrap"),
            ],
            False,
        )
        for row in PUBLISHED
    ]
    for model, entries in _entries(report, "reconstruction").items():
        cells = [
            *(_cell(_number(name, entries[name]["mean"])) for name in PIXEL_METRICS),
            _cell("this evaluation", "text"),
            _cell(protocol if model == "model" else "as this model", "text wrap"),
        ]
        lines.append((_name(model), cells, model == "model"))
    head = ["method", *map(_heading, PIXEL_METRICS), "source", "protocol"]
    note = (
        "<p><strong>Numbers of different protocols are not comparable.</strong> Clips, frames, crop and "
        "image size all move them; the published rows, at 256 px unless they say so, are here for their "
        "order of magnitude.</p>"
    )
    return note + _table("Published and ours", head, lines)


def _not_computed(report: Row) -> str:
    if not report["skipped"]:
        return "<p>Everything was computed.</p>"
    items = [
        f"<dt>{escape(', '.join(what))}</dt><dd>{escape(why)}</dd>"
        for why, what in left_out(report["skipped"]).items()
    ]
    return f"<dl>{''.join(items)}</dl>"


def left_out(skipped: Sequence[Row]) -> dict[str, list[str]]:
    """Return what was not computed, by its reason."""
    reasons: dict[str, list[str]] = {}
    for one in skipped:
        label = METRICS[one["what"]].label if one["what"] in METRICS else one["what"].replace("_", "-")
        reasons.setdefault(one["reason"], []).append(label)
    return reasons


def _meanings(report: Row) -> str:
    present = {entry["metric"] for entry in report["summary"]}
    models = {name: one["model"] for one in report["measured_by"] for name in one["measures"]}
    items = []
    for name, metric in METRICS.items():
        if name in present:
            model = f" ({models[name]})" if name in models and name != "lpips" else ""
            items.append(f"<dt>{metric.heading}</dt><dd>{escape(metric.meaning + model)}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _provenance(report: Row) -> str:
    items = [
        "<dt>Pairs and frames</dt><dd><code>evaluation_list.json</code>, sha256 "
        f"<code>{_sha256(report, 'evaluation_list.json')}</code>; "
        "<code>lia evaluate --list FILE</code> repeats it</dd>",
        f"<dt>Shards</dt><dd>manifest sha256 <code>{_sha256(report, 'manifest.json')}</code></dd>",
    ]
    for one in report["models"]:
        if one["weights_sha256"] is not None:
            version = f", version {escape(one['version'])}" if one["version"] else ""
            items.append(
                f"<dt>{escape(_name(one['name']))}</dt>"
                f"<dd>weights sha256 <code>{one['weights_sha256']}</code>{version}</dd>"
            )
    return f"<dl>{''.join(items)}</dl>"


def _sha256(report: Row, file: str) -> str:
    return next(one["sha256"] for one in report["frozen"] if one["file"] == file)


def _table(
    caption: str, head: Sequence[str], lines: Sequence[tuple[str, list[str], bool]], tall: bool = False
) -> str:
    """Return a table that scrolls by itself; each line is its name, its cells, and whether it is ours."""
    columns = "".join(
        f"<th scope=col{' class=text' if name in _TEXT_COLUMNS else ''}>{name}</th>" for name in head
    )
    body = "".join(
        f"<tr{' class=ours' if ours else ''}><th scope=row>{escape(name)}</th>{''.join(cells)}</tr>"
        for name, cells, ours in lines
    )
    return (
        f"<div class='scroll{' tall' if tall else ''}' tabindex=0 role=region aria-label='{escape(caption)}'>"
        f"<table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str, kind: str = "") -> str:
    return f"<td class='{kind}'>{escape(text)}</td>" if kind else f"<td>{escape(text)}</td>"


def _interval_cell(name: str, entry: Row | None) -> str:
    if entry is None:
        return _cell("—")
    interval = ""
    if entry["low"] is not None:
        low, high = (_number(name, entry[end]) for end in ("low", "high"))
        interval = f"<span class=interval>{low} to {high}</span>"
    return f"<td>{_number(name, entry['mean'])}{interval}</td>"


def _number(name: str, value: float | None) -> str:
    return METRICS[name].text(value)


def _heading(name: str) -> str:
    return METRICS[name].heading


def _name(model: str) -> str:
    return NAMES.get(model, model)


def clip_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return a short name for each driving clip: its file's, and its place where a file has several."""
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(row["url"], set()).add(row["clip"])
    return {
        row["clip"]: Path(row["url"]).name
        + (f" {row['clip'].partition('-')[2]}" if len(keys[row["url"]]) > 1 else "")
        + (" (by time)" if row["by_time"] else "")
        for row in rows
    }
