"""Who may write: pure decisions on what was recorded and what both hosts show."""
