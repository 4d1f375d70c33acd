"""`python -m lienzo` is the command line."""

from lienzo.cli.main import main

main()
