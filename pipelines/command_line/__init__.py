"""Typer's side of each command: arguments, options and help. Modules of the pipeline are imported on call."""
