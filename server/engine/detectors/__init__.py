"""What samples say: limits, falls, bursts, supply failures and silence."""
