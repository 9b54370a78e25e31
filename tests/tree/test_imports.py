"""The table of packages: what each may import. It is the order of the flow, and it has no circle."""

import ast
from pathlib import Path

import pytest
from small import ROOT

# Each package may import what its line names, itself, and `errors`; no package but the last imports
# `commands`. Lazy imports and imports for type checking count as any others.
MAY_IMPORT = {
    'errors': '',
    'buckets': '',
    'config': '',
    'text': '',
    'images': '',
    'looks': '',
    'weights': '',
    'devices': 'config',
    'data': 'buckets config text images',
    'onednn': 'devices',
    'models': 'images weights onednn',
    'metrics': 'text',
    'workdir': 'buckets config text models devices weights',
    'prepare': 'buckets data images looks text weights',
    'reading': 'config text images devices data models metrics workdir onednn',
    'evaluation': 'config text images devices data models metrics workdir reading',
    'publish': 'config text devices data models workdir reading evaluation',
    'train': 'config text images devices data models workdir reading evaluation weights onednn',
    'sweep': 'config text looks devices data workdir evaluation',
    'search': 'config text workdir sweep',
    'reproduce': 'config devices data workdir evaluation',
    'server': 'config text images looks data models metrics workdir reading',
    'export': 'config text images devices data models workdir reading',
    'report': 'config text images looks devices data models metrics workdir reading evaluation',
    'bench': 'config text images devices data models metrics workdir reading evaluation train export onednn',
    'commands': 'buckets config text images looks weights devices data models metrics workdir prepare '
                'reading evaluation publish train sweep search reproduce server export report bench',
    'start': 'commands',
    '__main__': 'start',
    '__init__': 'reading',
}
VERSION = 'recog'  # of which anyone may import __version__


def modules() -> dict[str, Path]:
    """Every module of recog by its dotted name, without `recog.`; the package itself is `__init__`."""
    found = {}
    for file in sorted((ROOT / 'recog').rglob('*.py')):
        parts = file.relative_to(ROOT / 'recog').with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' and len(parts) > 1 else parts)] = file
    return found


MODULES = modules()


def imports(file: Path) -> set[str]:
    """The modules of recog that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split('.')[0] == 'recog'}
        elif isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'recog':
            for name in node.names:
                inner = f'{node.module}.{name.name}'.removeprefix('recog.')
                is_version = (node.module, name.name) == ('recog', '__version__')
                found |= set() if is_version else {f'recog.{inner}' if inner in MODULES else node.module}
    return {name.removeprefix('recog.') if name != 'recog' else '__init__' for name in found}


IMPORTS = {name: imports(file) for name, file in MODULES.items()}


def package(module: str) -> str:
    return module.split('.')[0]


def test_every_package_has_one_sentence_that_says_what_it_is():
    for name, file in MODULES.items():
        words = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or ''
        assert words and words.split('\n\n')[0].endswith('.'), f'{name}: {words!r}'


def test_the_table_names_what_is_there():
    assert {package(name) for name in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize('name', MAY_IMPORT)
def test_a_package_imports_only_what_the_table_allows(name):
    allowed = {name, 'errors', *MAY_IMPORT[name].split()}
    wrong = [f'{module} imports {other}' for module, others in IMPORTS.items() if package(module) == name
             for other in sorted(others) if package(other) not in allowed]
    assert not wrong


def test_the_table_has_no_import_that_runs_upwards():
    order = list(MAY_IMPORT)
    for name, others in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(name) for other in others.split()), name


def test_no_file_imports_itself_through_others():
    seen: dict[str, int] = {}  # 1 while it is being looked at, 2 when all that it imports has been

    def look(module: str, way: tuple[str, ...]) -> None:
        if seen.get(module) == 1:
            raise AssertionError(' -> '.join((*way[way.index(module):], module)))
        if module not in seen:
            seen[module] = 1
            for other in sorted(IMPORTS[module]):
                look(other, (*way, module))
            seen[module] = 2

    for module in IMPORTS:
        look(module, ())
