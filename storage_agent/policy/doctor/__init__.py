"""What doctor checks."""
