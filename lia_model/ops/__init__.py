"""The operations that LIA spends its time in, each one public function beside its plain PyTorch reference."""
