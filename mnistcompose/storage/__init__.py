"""Files on disk: shards, digests, manifests, and how they are written."""
