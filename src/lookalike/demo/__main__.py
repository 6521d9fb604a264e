"""Run the demo: ``python -m lookalike.demo``."""

from lookalike.demo.run import main

main()
