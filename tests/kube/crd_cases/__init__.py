"""What the API server accepts and refuses, as tables: one module for each kind."""
