"""How the clips were cropped that a checkpoint was trained on; what the model animates is cropped so too.

Training copies it from the shards' manifest to the checkpoint's provenance, which registered versions keep.
"""

from pathlib import Path

from pydantic import ValidationError

from lia_model.checkpoints.directory import CONFIG, read_config
from preprocessing.shards.manifest import CropFacts

UNRECORDED = CropFacts(rule="fomm_square", scale=1.2, outside="pad")
"""Taken for a checkpoint without a record: an older one, or a published one."""
KEY = "crop"
"""Of the record in the provenance."""


def read_crop(directory: Path) -> CropFacts:
    """Return the record of a checkpoint directory, or `UNRECORDED`.

    Raises:
        ValueError: the directory is not a checkpoint, or records a crop that this installation does not know.
    """
    record = read_config(directory).provenance.get(KEY)
    if not record:
        return UNRECORDED
    try:
        return CropFacts.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (KEY, *first["loc"])))
        raise ValueError(
            f"{directory / CONFIG} records {place} {first['input']!r}: {first['msg']}; update this "
            "installation, or copy the checkpoint again"
        ) from None
