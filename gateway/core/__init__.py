"""The gateway's pure half: plans, decoding, meters and the Sparkplug edge session."""
