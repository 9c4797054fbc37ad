"""Commands on the data beside the stages: lists of sources, the ledger, and taking videos down."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line.arguments import AsJson, Yes
from pipelines.command_line.startup import activate_environment, enter_project
from pipelines.local.reports import print_report
from preprocessing.sources.importers import importer_names

# One choice for each file of `preprocessing/sources/importers`.
ImportFormat = StrEnum("ImportFormat", importer_names())


def sources_import(
    file: Annotated[Path, typer.Argument(help="The published list, or the folder of its files.")],
    format_name: Annotated[ImportFormat, typer.Option("--format", help="Format of the published list.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The list to write or replace.")],
    fix_split: Annotated[
        bool, typer.Option("--fix-split", help="Move identities and videos that are in both splits to test.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a list that has bad rows.")] = False,
    list_name: Annotated[
        str | None,
        typer.Option("--list", help="Name of the list in `lia sources report`; default: that of the file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a published list of sources to ours; report bad rows, duplicates, clipped boxes and leaks."""
    from pipelines.commands import sources as module

    report = module.import_list(file, format_name, output, fix_split, strict, list_name)
    typer.echo(report.model_dump_json(indent=1) if as_json else module.report_lines(report))


def sources_report(as_json: AsJson = False) -> None:
    """Count how many rows of each published list still exist, by host, as the last download found them."""
    params, environment = enter_project()
    from pipelines.commands import sources as module

    counts = module.count_lists(environment.paths.source_ledger, params.download.max_per_hour)
    print_report(module.count_lines(counts), [one.model_dump() for one in counts], as_json)


def ledger(
    clips: Annotated[bool, typer.Option("--clips", help="Show rows of the table of clips.")] = False,
    sources: Annotated[bool, typer.Option("--sources", help="Show rows of the table of sources.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Only rows that fulfil this; also != < >; an empty value for rows without one; repeatable.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns to show, separated by commas; default: the main ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most rows; 0 for all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what became of every source and clip: counts of outcomes and reasons, or rows of a table."""
    paths = activate_environment().paths
    from pipelines.commands import ledger as module

    if clips and sources:
        raise ValueError("got --clips and --sources; one table is shown at a time; leave one out")
    if not clips and not sources:
        if where or columns:
            raise ValueError("got --where or --columns without a table; add --clips or --sources")
        counts = module.count_all(paths)
        print_report(module.outcome_lines(counts), module.outcome_document(counts), as_json)
        return
    named = columns and [name.strip() for name in columns.split(",")]
    selection = module.Selection("clips" if clips else "sources", where or (), named or None, limit)
    rows = module.select_rows(paths, selection, all_columns=as_json)
    print_report(module.row_lines(rows), {"num_found": rows.num_found, "rows": rows.records}, as_json)
    if len(rows.records) < rows.num_found:
        typer.echo(f"{len(rows.records)} of {rows.num_found} rows; --limit 0 shows all", err=True)


def calibrate(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS.csv",
            help="Columns file and identity, and recording where several videos show the same one.",
        ),
    ],
    measured_on: Annotated[
        str, typer.Option(help="The labelled videos in words, for the manifest and the model card.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Default: calibration.json in shards.detect.models, where it is read."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how often the face embedder matches two people or misses one, and choose the distance."""
    labels, output = labels.absolute(), output and output.absolute()
    params, environment = enter_project()
    from pipelines.commands import calibrate as module

    root = environment.paths.root
    calibration = module.calibrate_embedder(labels, measured_on, root, params.shards)
    module.write_calibration(calibration, output or module.default_output(root, params.shards))
    print_report(module.rate_rows(calibration), calibration.model_dump(), as_json)


def forget(
    what: Annotated[
        str,
        typer.Argument(
            metavar="URL|SOURCE_ID|IDENTITY",
            help="A video, by URL in any spelling, key or source_id, or an identity.",
        ),
    ],
    yes: Yes = False,
    even_if_unknown: Annotated[
        bool, typer.Option("--even-if-unknown", help="Write a tombstone for a URL or key that nothing has.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a video or person from all the project keeps, old versions too; name models trained on it."""
    params, environment = enter_project()
    from pipelines.commands import forget as module
    from pipelines.commands.takedown import survey
    from pipelines.local.data_versions import DataVersions

    paths, store = environment.paths, environment.store()
    root, versions = paths.root, DataVersions(paths.root)
    takedown = survey(what, root / params.download.sources, paths, store, versions, even_if_unknown)
    typer.echo(
        module.takedown_json(takedown, root) if as_json else "\n".join(module.takedown_lines(takedown, root))
    )
    if not yes:
        typer.confirm("delete all of this permanently?", abort=True, err=True)
    module.carry_out(takedown, paths.tombstones, store, versions)
    module.rebuild(paths, environment.tool_variables())
    done = "done: commit data/tombstones.csv and dvc.lock, and run the same in every other checkout"
    typer.echo(done, err=as_json)
