"""Pages that are generated from the code while the documentation is built, so that they cannot go stale."""
