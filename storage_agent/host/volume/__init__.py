"""What lies on a volume."""
