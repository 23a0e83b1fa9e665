"""The pure half of the control room: a fold of events into effects."""
