"""The command line `lia`: the index of its commands and their exit codes.

The commands live in `pipelines/command_line` and import what they run when called, so that `lia --help` is
quick. Exit codes: 0 success, 2 wrong use or bad input (a ValueError), 1 failure. A ValueError and our own
exception classes carry a message for the operator and are printed as one line; any other exception is a bug
and keeps its traceback.
"""

import errno
import logging
import sqlite3
import sys
from typing import Annotated

import typer

from lia_model.registry.outages import explain_outage
from pipelines.command_line import (
    animation_commands,
    checkpoint_commands,
    data_commands,
    machine_commands,
    registry_commands,
    stage_commands,
    token_commands,
)
from pipelines.local.flow_lines import shorten_failures
from pipelines.local.log_lines import leave_out_lost_connections, tell
from pipelines.local.prefect_outage import explain_prefect_outage
from preprocessing.storage.files import DISK_ERRORS

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FILE_ERRORS = (*DISK_ERRORS, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR)
UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
"""Any wrong use; typer exports only this one kind."""
_OUR_PACKAGES = ("preprocessing", "lia_model", "pipelines")


def _group(purpose: str) -> typer.Typer:
    return typer.Typer(
        help=purpose, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


app = _group("From video links to a trained, registered and served LIA model.")

app.command()(machine_commands.doctor)
app.command()(machine_commands.preset)
app.command()(machine_commands.fetch)
app.command()(machine_commands.clean)

app.command()(stage_commands.download)
app.command()(stage_commands.shards)
app.command()(stage_commands.train)
app.command()(stage_commands.sweep)
app.command()(stage_commands.evaluate)
app.command()(stage_commands.release)
app.command()(stage_commands.rollback)
app.command()(registry_commands.models)
app.command()(registry_commands.lineage)

app.command()(animation_commands.animate)
app.command()(animation_commands.manipulate)
app.command()(animation_commands.serve)
app.command()(animation_commands.batch)

app.command()(checkpoint_commands.import_checkpoint)
app.command()(checkpoint_commands.export_checkpoint)
app.command()(checkpoint_commands.export_onnx)

app.command()(data_commands.ledger)
app.command()(data_commands.calibrate)
app.command()(data_commands.forget)

app.command()(machine_commands.env)
app.command()(machine_commands.up)
app.command()(machine_commands.stop)
app.command()(machine_commands.demo)

motion = _group("Motion files: the motion of a driving clip without its pictures.")
app.add_typer(motion, name="motion")
motion.command("extract")(animation_commands.motion_extract)

token = _group("Tokens of the animation service.")
app.add_typer(token, name="token")
token.command("create")(token_commands.token_create)
token.command("list")(token_commands.token_list)
token.command("revoke")(token_commands.token_revoke)

sources = _group("The list of sources, data/sources.csv.")
app.add_typer(sources, name="sources")
sources.command("import")(data_commands.sources_import)
sources.command("report")(data_commands.sources_report)


def main() -> None:
    """Run the command line and turn exceptions into exit codes."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # Libraries log every HTTP request at INFO.
    for package in _OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    # One that is repeated; if none succeeds, our own message says so.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    leave_out_lost_connections()
    with_traceback = "--traceback" in sys.argv
    if not with_traceback:
        shorten_failures(explain)
    try:
        # Standalone, typer would print wrong use as a box of several lines.
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        typer.echo("lia: aborted", err=True)
        sys.exit(1)
    except UsageError as error:
        # Without arguments, help has been printed, and the message is empty.
        if message := _usage_message(error):
            typer.echo(f"lia: {message}", err=True)
        sys.exit(2)
    except Exception as error:
        message = None if with_traceback else explain(error)
        if message is None:
            raise
        tell(f"lia: {message}", logging.ERROR)
        sys.exit(2 if isinstance(error, ValueError) else 1)


def _usage_message(error: typer.BadParameter) -> str:
    """Return in one line what is wrong with the arguments and which help says what is right."""
    # Typer's own choices come from pydantic, which marks what a validator raised.
    message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    command = "lia" if error.ctx is None else error.ctx.command_path
    return message and f"{message}; see `{command} --help`"


def explain(error: BaseException) -> str | None:
    """Return the one line that a user needs for an error; None if only its traceback explains it."""
    if is_database_busy(error):
        return "another process writes to a SQLite file of this project; try again"
    if isinstance(error, OSError) and error.errno in _FILE_ERRORS:
        place = "" if error.filename is None else f": {error.filename}"
        return f"{error.strerror}{place}; free space there, or choose a file that can be written"
    if isinstance(error, ValueError) or type(error).__module__.split(".")[0] in _OUR_PACKAGES:
        return " ".join(str(error).split())
    return explain_outage(error) or explain_prefect_outage(error)


def is_database_busy(error: BaseException | None) -> bool:
    """Return whether an exception, or one that caused it, says that a SQLite file stayed locked."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in _BUSY:
            return True
        error = error.__cause__ or error.__context__
    return False


@app.callback()
def _options(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error.")] = False,
) -> None:
    """Declare the options that come before the command; `main` reads --traceback itself."""
    del traceback
