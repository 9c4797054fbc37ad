"""When and in what order: the stages as Prefect flows, and the command line."""
