"""What is decided of a volume's array."""
