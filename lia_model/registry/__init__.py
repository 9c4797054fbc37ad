"""MLflow: training runs, registered models, and their aliases."""
