"""Real servers on loopback, one module for each kind."""
