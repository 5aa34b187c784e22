"""``python -m steadyframe`` is the command line."""

from steadyframe.runtime.commands import main

if __name__ == "__main__":
    main(prog_name="steadyframe")
