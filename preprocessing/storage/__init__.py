"""Files on disk and in an object store."""
