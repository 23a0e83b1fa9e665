"""Arrive, write down, acknowledge: the only writer of the journal."""
