from lia_model.evaluation.literature import PUBLISHED
from lia_model.evaluation.metric_table import MISSING, PIXEL_METRICS
from lia_model.evaluation.page_tables import (
    clip_names,
    clip_tables,
    improvements_by_clip,
    literature_table,
    means_table,
    model_name,
    set_distance_table,
)

PROTOCOLS = ("reconstruction", "cross_identity")


def titles(table):
    return [column.title for column in table.columns]


def test_every_line_of_every_table_has_a_cell_for_each_column(report, rows):
    means = [means_table(report, protocol) for protocol in PROTOCOLS]
    tables = [*means, set_distance_table(report), *clip_tables(report, rows), literature_table(report, "p")]
    assert len(tables) == 6
    assert all(len(row.cells) == len(table.columns) for table in tables for row in table.rows)


def test_only_lines_of_this_model_are_emphasised(report):
    report["set_distances"].append(report["set_distances"][0] | {"model": "copy_source"})
    for table in (
        means_table(report, "reconstruction"),
        set_distance_table(report),
        literature_table(report, "p"),
    ):
        emphasised = [row.cells[0] == "this model" for row in table.rows]
        assert any(emphasised)
        assert [row.is_emphasised for row in table.rows] == emphasised


def test_means_are_in_the_table_of_their_protocol_with_their_intervals(report):
    transfer = means_table(report, "cross_identity")
    assert (transfer.caption, titles(transfer)) == (
        "Means over clips, cross-identity", ["model", "CSIM ↑", "Motion ↓"]
    )  # fmt: skip
    (line,) = transfer.rows
    assert [(cell.text, cell.note) for cell in line.cells[1:]] == [
        ("0.800", "0.720 to 0.880"), ("0.020", "0.018 to 0.022")
    ]  # fmt: skip


def test_a_metric_has_a_column_if_any_model_has_a_mean_of_it(report):
    table = means_table(report, "reconstruction")
    assert titles(table) == ["model", "L1 ↓", "PSNR, dB ↑", "SSIM ↑", "LPIPS ↓", "AKD, px ↓"]
    assert [row.cells[0] for row in table.rows] == ["this model", "copying the source", "<other>"]
    ours, copied, other = (row.cells[5] for row in table.rows)
    assert (ours.text, copied, other) == ("1.23", MISSING, MISSING)


def test_a_mean_without_an_interval_is_a_number_alone(report):
    summary = [entry | {"low": None, "high": None} for entry in report["summary"]]
    table = means_table(report | {"summary": summary}, "cross_identity")
    assert table.rows[0].cells == ["this model", "0.800", "0.020"]


def test_without_any_number_there_is_no_table(report):
    assert [means_table(report | {"summary": []}, protocol) for protocol in PROTOCOLS] == [None, None]
    assert set_distance_table(report | {"set_distances": []}) is None


def test_distances_of_sets_tell_how_they_were_measured(report):
    (line,) = set_distance_table(report).rows
    assert line.cells == [
        "this model", "FID", "reconstruction", "12.35", "12 × 3", "inception.pt, sha256 abababababab"
    ]  # fmt: skip


def test_every_pair_and_model_has_a_line(report, rows):
    reconstruction, transfer = clip_tables(report, rows)
    assert (reconstruction.is_long, transfer.is_long) == (True, True)
    assert (titles(reconstruction)[:3], titles(reconstruction)[-1]) == (["clip", "by", "frames"], "Saved ↑")
    assert titles(transfer)[:4] == ["driving clip", "by", "source", "frames"]
    shown = [(row.cells[0][0], row.cells[1]) for table in (reconstruction, transfer) for row in table.rows]
    wanted = [
        (row["clip"][0], model_name(row["model"]))
        for protocol in PROTOCOLS
        for row in rows
        if row["protocol"] == protocol
    ]
    assert shown == wanted
    assert reconstruction.rows[0].cells == [
        "a.mp4 (by time)", "this model", "4", "0.0100", "30.00", "0.900", "0.100", "1.50", "—", "—", "+50.0%"
    ]  # fmt: skip
    assert transfer.rows[0].cells == [
        "a.mp4 (by time)", "this model", "z.mp4", "4", "0.800", "0.010", "0.250"
    ]  # fmt: skip


def test_what_is_saved_of_copying_is_in_the_lines_of_this_model_alone(report, rows):
    reconstruction, _ = clip_tables(report, rows)
    saved = {row.cells[1]: row.cells[-1] for row in reconstruction.rows[:3]}
    assert saved == {"this model": "+50.0%", "copying the source": MISSING, "<other>": MISSING}
    assert improvements_by_clip(report) == {"a-whole": 0.5, "b-whole": 0.1, "c-whole": 0.3}


def test_a_protocol_without_pairs_has_no_table_of_clips(report, rows):
    only = [row for row in rows if row["protocol"] == "reconstruction"]
    assert [table.caption for table in clip_tables(report, only)] == ["Reconstruction"]


def test_published_lines_come_first_as_printed_and_ours_follow_with_their_protocol(report):
    table = literature_table(report, "3 clips of ours")
    published, ours = table.rows[: len(PUBLISHED)], table.rows[len(PUBLISHED) :]
    for row, line in zip(PUBLISHED, published, strict=True):
        numbers = [getattr(row, name) for name in PIXEL_METRICS]
        assert line.cells == [row.method, *numbers, row.source, row.protocol]
    assert [line.cells for line in ours] == [
        [name, "0.1000", "0.10", "0.100", "0.100", "this evaluation", protocol]
        for name, protocol in (
            ("this model", "3 clips of ours"),
            ("copying the source", "as this model"),
            ("<other>", "as this model"),
        )
    ]


def test_a_clip_is_named_by_its_file_and_clips_of_one_file_by_the_rest_of_their_keys():
    def row(clip, file, by_time=False):
        return {"clip": clip, "url": f"http://host/{file}", "by_time": by_time}

    rows = [row("k-0", "a.mp4"), row("k-1", "a.mp4", True), row("m-0", "b.mp4"), row("m-0", "b.mp4")]
    assert clip_names(rows) == {"k-0": "a.mp4 0", "k-1": "a.mp4 1 (by time)", "m-0": "b.mp4"}
