"""The page of `steadyframe serve`: live images, results and figures for browsers, and metrics for monitoring.

Needs aiohttp and prometheus-client, the extra `serve`. Stands on `stream` and `opening`; only `commands` stands
on it.
"""
