"""Projections of the journal: samples by point and time, and their readers."""
