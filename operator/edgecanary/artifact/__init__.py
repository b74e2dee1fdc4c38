"""Identity and shape of model files: digests, golden cases, declared tensors. Pure: takes bytes and raises."""
