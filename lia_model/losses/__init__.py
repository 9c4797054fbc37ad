"""Loss terms of training, and distances in the features of ImageNet networks."""
