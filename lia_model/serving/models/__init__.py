"""The models that jobs may ask for: by alias or version, kept loaded for as long as there is room."""
