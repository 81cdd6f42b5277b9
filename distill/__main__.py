"""`python -m distill` is `xkd-distill`: what torchrun and the sweep start."""

from distill.cli import main

main()
