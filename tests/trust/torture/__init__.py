"""Kill real commands at random moments, and check that nothing is lost or left over.

`workspace` makes the images and runs the commands, `trial` interrupts one of them, `checks`
compares the result with an uninterrupted run.
"""
