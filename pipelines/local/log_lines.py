"""Log lines as JSON, for programs that collect them."""

import json
import logging
from datetime import UTC, datetime

import typer


class JsonFormatter(logging.Formatter):
    """One object a line: time in UTC, level, logger, message, correlation id, and an exception's traceback.

    Args:
        correlation_id: of this process's work.
    """

    def __init__(self, correlation_id: str) -> None:
        super().__init__()
        self._correlation_id = correlation_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "correlation_id": self._correlation_id,
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def log_as_json(correlation_id: str) -> None:
    """Let this process's log lines be JSON from now on."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter(correlation_id))


def leave_out_lost_connections() -> None:
    """Keep asyncio from printing a traceback for each connection that a server closed under a request.

    Who waits for the answer gets an error too: a request to an object store, which is repeated, or fails.
    """
    logging.getLogger("asyncio").addFilter(_is_no_lost_connection)


def _is_no_lost_connection(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], ConnectionError)


def tell(message: str, level: int = logging.INFO) -> None:
    """Write a line to stderr for whoever runs the command: as it is, or as an object if log lines are."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        logging.getLogger(__package__).log(level, "%s", message)
    else:
        typer.echo(message, err=True)
