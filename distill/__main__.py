"""`python -m distill` is `xkd-distill`."""

from distill.cli import main

main()
