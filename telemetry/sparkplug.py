"""Sparkplug B 3.0: topics and payloads, to bytes and back."""
