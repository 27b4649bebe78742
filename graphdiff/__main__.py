"""`python -m graphdiff` is the command `graphdiff`."""

from graphdiff.cli.main import entry

if __name__ == "__main__":
    entry()
