"""TensorRT: plans in their own process, a cache that cannot be wrong, and the session that runs an engine."""
