"""asv suites: what alexpy itself takes, commit by commit. Rivals are in alexpy.compare, not here.

Every suite checks its answers where it sets up. A commit that lacks a call raises NotImplementedError there,
which asv records as "not there"; `api` turns a missing name into that.
"""
