"""Adds the generated pages to a build of MkDocs."""

from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs.generate.architecture_picture import architecture_picture
from docs.generate.commands_page import commands_page
from docs.generate.http_page import http_page
from docs.generate.settings_page import settings_page
from pipelines.params import Params
from pipelines.presets import read_preset

ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the picture."""
    contents = {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "http.md": http_page(Params.model_validate(yaml.safe_load(read_preset("demo")))),
        "architecture.svg": architecture_picture(ROOT / "pyproject.toml"),
    }
    for name, content in contents.items():
        files.append(File.generated(config, name, content=content))
    return files
