"""Carries out the requests of the HTTP interface on the job store, without any HTTP of its own."""
