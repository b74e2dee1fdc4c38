"""What runs models: one protocol, one module for each runtime."""
