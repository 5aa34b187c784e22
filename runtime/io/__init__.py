"""Where frames come from and where results go: sources, sinks, and the addresses that name them."""
