"""The operator: kopf hears of changes, the reconcilers observe, plan and write."""
