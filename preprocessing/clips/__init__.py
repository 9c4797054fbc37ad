"""From one source to its clips: candidates, outcomes, crops and cut frames. Read `source_run` first."""
