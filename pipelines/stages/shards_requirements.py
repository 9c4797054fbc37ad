"""What the stage shards needs before it begins: a box or a video of each source."""

from collections.abc import Sequence

from pipelines.project_paths import ProjectPaths
from preprocessing.clips.crop import finds_faces
from preprocessing.ledger import SourceRow
from preprocessing.outcome import DownloadStatus
from preprocessing.settings import CropSettings

NUM_NAMED = 3
"""Most sources that a message names."""


def require_boxes(sources: Sequence[SourceRow], settings: CropSettings) -> None:
    """Check that every verified source lists a box, if the crop rule cuts out the listed box.

    Raises:
        ValueError: some have none; the message names the first ones.
    """
    if finds_faces(settings) or settings.rule == "none":
        return
    lacking = [
        row.source
        for row in sources
        if row.download.status == DownloadStatus.VERIFIED and None in (row.source.bbox, row.source.bbox_size)
    ]
    if lacking:
        names = ", ".join(source.source_id or source.url for source in lacking[:NUM_NAMED])
        more = f" and {len(lacking) - NUM_NAMED} more" if len(lacking) > NUM_NAMED else ""
        raise ValueError(
            f"got {len(lacking)} sources without bbox ({names}{more}); crop rule {settings.rule} cuts out "
            "the listed box; fill bbox, width and height in data/sources.csv, or set shards.crop.rule to "
            "fomm_square or none"
        )


def require_videos(sources: Sequence[SourceRow], paths: ProjectPaths) -> None:
    """Check that this machine has every verified video, or clips that were made of it.

    Raises:
        ValueError: some are neither here nor made into clips here: a cluster with a store keeps them there.
    """
    lacking = [
        row.source
        for row in sources
        if row.download.status == DownloadStatus.VERIFIED
        and not (paths.raw / str(row.download.file)).is_file()
        and not (paths.clips / row.source.row_key).is_dir()
    ]
    if lacking:
        raise ValueError(
            f"got {len(lacking)} sources whose videos are not in {paths.raw} (first: {lacking[0].url}); set "
            "LIA_STORE_URL to the object store that holds them, or run `lia download` to download them again"
        )
