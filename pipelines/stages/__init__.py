"""The stages of dvc.yaml as Prefect flows, and what runs them in order."""
