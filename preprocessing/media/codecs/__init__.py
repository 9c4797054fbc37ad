"""How videos are encoded and decoded: on the CPU, or on an NVIDIA GPU."""
