"""The service's database: SQLite or PostgreSQL, by URL."""

from lia_model.serving.database.engine import (
    Database,
    DatabaseBusyError,
    DatabaseError,
    open_database,
    parse_url,
    sqlite_url,
)
from lia_model.serving.database.schema import METADATA

__all__ = [
    "METADATA",
    "Database",
    "DatabaseBusyError",
    "DatabaseError",
    "open_database",
    "parse_url",
    "sqlite_url",
]
