"""What must never be kept: card numbers, and how a column says that it holds something personal."""
