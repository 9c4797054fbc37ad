"""Passwords and keys of the stack: made once at random, kept in a file that only its owner may read."""

import secrets
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.stack.private_file import write_private

_NUM_BYTES = 24


class Credentials(BaseModel):
    """One secret a service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    postgres_password: str = Field(repr=False)
    s3_key_id: str = Field(repr=False)
    s3_secret: str = Field(repr=False)
    mlflow_password: str = Field(repr=False)
    """Of MLflow's administrator; MLflow takes it at its first start only."""
    mlflow_session_key: str = Field(repr=False)
    """Signs the cookies of MLflow's forms."""
    prefect_password: str = Field(repr=False)
    service_token: str = Field(repr=False)
    """Bearer token of the animation service, with all scopes."""

    @classmethod
    def ensure(cls, path: Path) -> Self:
        """Read `path`, or make new credentials and write them there.

        Raises:
            ValueError: the file is not what this version writes.
        """
        if path.is_file():
            try:
                return cls.model_validate_json(path.read_text())
            except ValidationError as error:
                # Not the value, which may be a secret.
                first = error.errors(include_input=False)[0]
                place = ".".join(map(str, first["loc"])) or "its content"
                raise ValueError(
                    f"{path}, {place}: {first['msg']}; restore the file, or run `make stack-stop` "
                    f"and delete {path.parent} with all its data"
                ) from None
        # Hexadecimal digits need no quoting in URLs, variables and configuration files.
        made = cls(**{name: secrets.token_hex(_NUM_BYTES) for name in cls.model_fields})
        write_private(path, made.model_dump_json(indent=2))
        return made
