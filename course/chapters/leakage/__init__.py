"""What only the chapter on leakage uses."""
