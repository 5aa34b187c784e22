"""A bundle on disk: its manifest, its graphs, and their hashes."""
