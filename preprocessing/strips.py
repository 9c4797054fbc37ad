"""Picture strips: frames side by side in one picture. Images are uint8 RGB [H, W, 3].

Imports numpy alone, since the training loop makes strips where Pillow may be missing.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
LABEL_PX = 24
"""Height of the row of column labels; the column of row labels is twice as wide."""
GAP_PX = 2
"""White space to the right of and below each tile of a labelled grid."""


def evenly_spaced(num_items: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` positions among `num_items`, evenly spaced, both ends included."""
    return np.linspace(0, num_items - 1, min(num_items, most)).round().astype(np.intp)


def grid(rows: Iterable[Iterable[Image]]) -> Image:
    """Join equally sized tiles to one picture, a row below the other."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def labelled_grid(
    rows: Sequence[Sequence[Image]], row_labels: Sequence[str], column_labels: Sequence[str], corner: str
) -> Image:
    """Join equally sized square tiles to a table on white, with a label for each row and column.

    Args:
        rows: the tiles, [S, S, 3] each.
        row_labels: one for each row, to the left of it.
        column_labels: one for each column, above it.
        corner: above the row labels: what the column labels are values of.
    """
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont

    cell = rows[0][0].shape[0] + GAP_PX
    margin = 2 * LABEL_PX
    size = (margin + cell * len(column_labels), LABEL_PX + cell * len(rows))
    sheet = PillowImage.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LABEL_PX * 0.6)

    def write(x: float, y: float, text: str) -> None:
        draw.text((x, y), text, "black", font, anchor="mm")

    write(margin / 2, LABEL_PX / 2, corner)
    for column, label in enumerate(column_labels):
        write(margin + cell * (column + 0.5), LABEL_PX / 2, label)
    for row, (label, images) in enumerate(zip(row_labels, rows, strict=True)):
        top = LABEL_PX + cell * row
        write(margin / 2, top + cell / 2, label)
        for column, image in enumerate(images):
            sheet.paste(PillowImage.fromarray(image), (margin + cell * column, top))
    return np.asarray(sheet)
