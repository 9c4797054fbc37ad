"""Shards in, animation out: the Latent Image Animator, its training, evaluation and serving."""
