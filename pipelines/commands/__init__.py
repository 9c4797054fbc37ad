"""What the commands of `lia` do beyond the stages."""
