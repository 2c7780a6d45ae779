"""One module for each family of metrics; each function gives a Result or a table of them."""
