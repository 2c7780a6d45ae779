"""Stand-ins for the outside systems of the sample company: each speaks its real protocol, on loopback only."""
