"""This machine: services, Ray cluster, fetched models, diagnosis."""
