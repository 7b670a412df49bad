"""What a host is: frozen values and enums, no I/O. Imports nothing else of ours."""
