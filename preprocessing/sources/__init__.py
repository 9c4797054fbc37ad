"""The list of sources: rows, importers of published lists, splits and takedowns."""
