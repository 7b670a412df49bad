"""Coordinators' keys."""
