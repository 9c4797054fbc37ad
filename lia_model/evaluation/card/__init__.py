"""The model card of a registered version: its facts as sections, laid out as Markdown and as a page."""
