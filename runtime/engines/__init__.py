"""One file an engine; each is imported only when its device is requested."""
