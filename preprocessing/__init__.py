"""Videos in, face-cropped shards out; knows faces, knows no scheduler."""
