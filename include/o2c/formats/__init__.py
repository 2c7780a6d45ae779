"""One module per file format. A format turns a part's bytes into one stream of records for COPY."""
