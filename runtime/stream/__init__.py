"""The threads around the one synchronous step: source, processor and sinks at the same time."""
