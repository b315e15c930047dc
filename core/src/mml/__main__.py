"""``python -m mml``: the command line."""

from mml.cli import main

if __name__ == "__main__":
    main()
