"""Video files, images and boxes in pixels."""
