"""Results that papers report for LIA and related methods, as printed there, with their protocols."""

from typing import NamedTuple


class PublishedRow(NamedTuple):
    """One method's results: the pixel metrics of `metric_table` as text, a dash where the paper has none."""

    method: str
    l1: str
    lpips: str
    psnr: str
    ssim: str
    source: str
    """Paper and table."""
    protocol: str


_LIA_X = "LIA-X, Table 1"
_VOX_483 = "VoxCelebHQ, 483 clips, same identity, the first frame animated by all"
PUBLISHED = (
    PublishedRow("FOMM", ".046", "—", "22.40", ".66", _LIA_X, _VOX_483),
    PublishedRow("TPSMM", ".043", ".112", "23.24", ".70", _LIA_X, _VOX_483),
    PublishedRow("MCNet", ".040", ".176", "23.73", ".72", _LIA_X, _VOX_483),
    PublishedRow("LIA (512)", ".052", ".211", "22.14", ".68", _LIA_X, _VOX_483),
    PublishedRow("LIA-X (256)", ".036", ".095", "24.82", ".73", _LIA_X, _VOX_483),
    PublishedRow("LIA (256)", "—", ".128", "22.11", ".786", "GHOST 2.0, Table 1", "VoxCeleb2"),
)
