"""The edge node: reads Modbus devices, stores what they say, streams it until it is acknowledged."""
