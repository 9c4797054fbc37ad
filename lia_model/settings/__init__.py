"""Settings of the model, its training, evaluation, release and serving, typed and frozen.

Values are in params.yaml and in checkpoints, never here; a field's docstring gives its meaning and unit.
"""
