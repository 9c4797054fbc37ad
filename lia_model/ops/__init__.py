"""The operations that dominate LIA's run time, each a public function with its plain PyTorch reference."""
