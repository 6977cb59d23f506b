"""Commands of the command line that are more than a few lines, each with what it prints; cli.py lists them all."""
