"""`python -m xkd_eval` is `xkd-eval`."""

from xkd_eval.cli import main

main()
