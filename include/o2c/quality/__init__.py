"""The quality room: rules become Great Expectations suites, run on one staged load, and leave evidence."""
