"""Faults on purpose: worlds that are broken in known ways, an oracle that says what was lost, and a runner."""
