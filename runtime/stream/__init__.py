"""A source, the processor and sinks at work at the same time: the threads around the one synchronous step."""
