"""Jobs: work that takes longer than a request.

To add a kind of job, write a module with a `JobKind` beside `evaluate`, and list it in `builtin`.
"""
