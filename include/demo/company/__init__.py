"""The sample company: a deterministic order-to-cash business with a known truth."""
