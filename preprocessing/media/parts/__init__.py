"""Listed parts of videos, decoded from the key frame before them."""
