"""The picture of the rooms and of the direction of imports, from the contracts of import-linter."""

import html
import tomllib
from pathlib import Path

_WIDTH_PX, _ROW_PX, _GAP_PX = 720, 40, 8


def architecture_picture(pyproject: Path) -> str:
    """Return an SVG: a box for each room, above those that it may import."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    packages = next(one["layers"] for one in contracts if one["type"] == "layers" and "containers" not in one)
    rooms = {one["containers"][0]: one["layers"] for one in contracts if "containers" in one}
    shapes: list[str] = []
    top = _GAP_PX
    for package in packages:
        shapes.append(_text(_GAP_PX, top + 20, package, "bold"))
        top += 32
        for layer in rooms.get(package) or [_folders(pyproject.parent / package)]:
            names = [name.strip() for name in layer.replace("|", ":").split(":")]
            width = (_WIDTH_PX - _GAP_PX * (len(names) + 1)) / len(names)
            for index, name in enumerate(names):
                shapes.append(_box(_GAP_PX + index * (width + _GAP_PX), top, width, name))
            top += _ROW_PX + _GAP_PX
        top += 2 * _GAP_PX
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {top}" role="img" '
        f'font-family="sans-serif" font-size="14"><title>Rooms, each above those it may import</title>'
        f'<rect width="{_WIDTH_PX}" height="{top}" fill="#fff"/>{"".join(shapes)}</svg>'
    )


def _folders(package: Path) -> str:
    """Return the rooms of a package whose contracts set no order among them."""
    return " · ".join(sorted(one.parent.name for one in package.glob("*/__init__.py")))


def _box(left: float, top: float, width: float, name: str) -> str:
    size = f'width="{width:.1f}" height="{_ROW_PX}" rx="4"'
    outline = f'<rect x="{left:.1f}" y="{top}" {size} fill="#e8eaf6" stroke="#3f51b5"/>'
    return outline + _text(left + 10, top + 25, name, "normal")


def _text(left: float, baseline: float, words: str, weight: str) -> str:
    place = f'x="{left:.1f}" y="{baseline}"'
    return f'<text {place} font-weight="{weight}" fill="#1a237e">{html.escape(words)}</text>'
