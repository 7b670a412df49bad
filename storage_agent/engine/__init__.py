"""Runs plans: journal, locks, deadlines, undo, resume. Success is what a fresh look shows."""
