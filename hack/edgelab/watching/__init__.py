"""A fleet that shows everything there is to be watched: for the tests of dashboards and for their pictures."""
