"""What a flow and an entity are: read from YAML, checked before anything runs."""
