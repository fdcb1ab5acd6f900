"""The DCL module, the paper's notation for networks, and the networks."""
