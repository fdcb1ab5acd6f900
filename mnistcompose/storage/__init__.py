"""What lies on disk: shards, digests, manifests, and how files are written."""
