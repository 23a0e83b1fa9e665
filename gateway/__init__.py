"""The edge node: reads Modbus devices, stores what they say and streams it until acknowledged."""
