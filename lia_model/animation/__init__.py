"""From files to a file: a driving video, image or motion file moves a portrait."""
