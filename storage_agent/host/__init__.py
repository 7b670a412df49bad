"""One module per host tool: pure parsers and argv builders on top, a thin adapter below."""
