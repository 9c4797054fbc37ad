"""Experiment runs and registered models in MLflow."""
