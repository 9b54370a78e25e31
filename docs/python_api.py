"""The Python API as Markdown, from signatures and docstrings; nothing is imported."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from written import text

ROOT = Path(__file__).parents[1]
Documented = ast.FunctionDef | ast.ClassDef


def section(name: str, *methods: str) -> str:
    """A section about a function or a class, by its dotted name, and those of its methods that are named."""
    node, lines = _found(name)
    parts = [f'### {name}', _code(node, lines), *_words(node)]
    for each in methods:
        method = next(part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == each)
        parts += [_code(method, lines), *_words(method)]
    return '\n\n'.join(parts)


def _found(name: str) -> tuple[Documented, Sequence[str]]:
    """The definition of a dotted name, of a module or of a package's file, and the lines of this file."""
    module, _, last = name.rpartition('.')
    place = ROOT / module.replace('.', '/')
    file = place / '__init__.py' if place.is_dir() else place.with_suffix('.py')
    source = file.read_text(encoding='utf-8')
    for node in ast.parse(source).body:
        if isinstance(node, Documented) and node.name == last:
            return node, source.split('\n')
    raise LookupError(f'{file} defines no {last}')


def _code(node: Documented, source: Sequence[str]) -> str:
    """The signature, or the fields of a tuple with their comments, as code."""
    if isinstance(node, ast.FunctionDef):
        returns = f' -> {ast.unparse(node.returns)}' if node.returns else ''
        lines = [f'{node.name}({_arguments(node)}){returns}']
        if any('property' in ast.unparse(each) for each in node.decorator_list):
            lines = [f'{node.name}: {ast.unparse(node.returns)}' if node.returns else node.name]
    else:
        lines = [f'class {node.name}', *_fields_of_base(node)]
        if fields := [part for part in node.body if isinstance(part, ast.AnnAssign)]:
            first, last = fields[0].lineno - 1, fields[-1].end_lineno
            while source[first - 1].lstrip().startswith('#'):
                first -= 1
            lines += source[first:last]
    return '\n'.join(('```python', *lines, '```'))


def _fields_of_base(node: ast.ClassDef) -> Iterator[str]:
    """The fields that a class has from its base `NamedTuple('Name', [('field', type), ...])`."""
    for base in node.bases:
        if isinstance(base, ast.Call):
            for pair in ast.walk(base.args[1]):
                if isinstance(pair, ast.Tuple) and isinstance(pair.elts[0], ast.Constant):
                    yield f'    {pair.elts[0].value}: {ast.unparse(pair.elts[1])}'


def _arguments(node: ast.FunctionDef) -> str:
    """The arguments without self, a line each where they are many."""
    found = ast.unparse(node.args).removeprefix('self, ').removeprefix('self')
    if len(found) < 80:
        return found
    split = [ast.unparse(each) for each in node.args.args + node.args.kwonlyargs]
    defaults = [*[None] * (len(node.args.args) - len(node.args.defaults)), *node.args.defaults,
                *node.args.kw_defaults]
    lines = [name if value is None else f'{name}={ast.unparse(value)}'
             for name, value in zip(split, defaults, strict=True) if name != 'self']
    return '\n    ' + ',\n    '.join(lines) + '\n'


def _words(node: Documented) -> list[str]:
    """The docstring: paragraphs, or as it stands where its lines are set in."""
    first, _, rest = (ast.get_docstring(node) or '').partition('\n\n')
    if any(line.startswith(' ') for line in rest.split('\n')):
        return [text(first), f'```text\n{rest}\n```']
    return [text(part) for part in (first, rest) if part]
