"""Loaded with -p: a run of the suite without one guard, named by MUTANT.

It is left out while its module is imported. What the database refuses is dropped by the run around
this one, whose database this one uses.
"""

import importlib.abc
import importlib.machinery
import os
import sys

from tests.mutants import table


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a module without the guard, and never from a cache."""

    def get_code(self, fullname):
        source = self.get_data(self.path).decode()
        return compile(_mutant.mutated(source), self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname != _mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        spec.loader = _Loader(fullname, spec.origin)
        return spec


_mutant = table.mutants()[os.environ["MUTANT"]]
if _mutant.module:
    assert _mutant.module not in sys.modules, f"{_mutant.module} has been imported already"
    sys.meta_path.insert(0, _Finder())
