"""What the control machine must never forget."""
