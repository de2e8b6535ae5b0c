"""alexpy beside its rivals: a benchmark that checks every answer, and that anyone can repeat.

Each engine runs in a process of its own, at its best, under a named durability promise; only equal promises
are compared. `alexpy compare` or `python -m alexpy.compare` runs it; `pip install 'alexpy[compare]'` brings
the rivals, none of which the store itself needs. What was found and how to read it: docs/performance.md.
"""
