"""From one source to its clips: candidates, their outcomes, and cut frames. Read `source_run` first."""
