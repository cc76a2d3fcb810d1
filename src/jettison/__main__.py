"""`python -m jettison`: the command line, where the console script is not on the path."""

from jettison.cli import main

main()
