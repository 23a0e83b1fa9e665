"""Runs what was recorded again: what it says, how right it is, and what other limits would say."""
