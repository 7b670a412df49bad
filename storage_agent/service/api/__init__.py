"""What callers reach: socket, sessions, methods and their schema."""
