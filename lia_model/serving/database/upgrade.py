"""Brings the tables of a database up to date by Alembic's migrations, within the caller's transaction."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Carry out the migrations up to `revision` that the database lacks.

    Raises:
        ValueError: the database is of a newer version of this program.
    """
    try:
        command.upgrade(migrations_config(connection), revision)
    except CommandError as error:
        raise ValueError(
            f"got a database that this version cannot use ({error}); install the version that last used it, "
            "or name another database"
        ) from None


def migrations_config(connection: Connection) -> Config:
    """Return Alembic's configuration for the database of `connection`."""
    # It tells of every start, whether there is something to do or not.
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
