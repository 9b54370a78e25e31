"""The scripts of datasets/ as modules."""

import functools
import importlib.util
import sys

from small import ROOT


@functools.cache
def load(name):
    """The module of datasets/NAME.py, under a name that no package has."""
    spec = importlib.util.spec_from_file_location(f'{name}_script', ROOT / 'datasets' / f'{name}.py')
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
