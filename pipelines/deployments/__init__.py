"""The flows that prefect.yaml deploys. They run DVC and `lia` as child programs, as a user would."""
