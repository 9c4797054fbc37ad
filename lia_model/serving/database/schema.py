"""What every table of the service's database shares.

The tables themselves stand beside the code that reads and writes them. A change to one needs a file in
`migrations/versions`; a test compares both.
"""

from sqlalchemy import JSON, MetaData
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData()
JSON_COLUMN = JSON().with_variant(JSONB(), "postgresql")
"""Type of a column with a JSON document."""
