"""Learns from the past what is normal: outside the engine, which only applies what is published."""
