"""The tree and the wheel: what is shipped, and what would cause trouble on users' machines."""

import ast
import configparser
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from build import ProjectBuilder
from build.env import DefaultIsolatedEnv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pyproject_hooks import quiet_subprocess_runner
from small import ROOT

from recog import __version__


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """A wheel and an sdist of the tree, made with the tools that are installed here."""
    folder = tmp_path_factory.mktemp('dist')
    source = folder / 'source'
    files = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True,
                           text=True, check=True)
    for name in files.stdout.split():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, '-m', 'build', '--outdir', str(folder), str(source)], check=True,
                   capture_output=True)
    return folder


def test_the_wheel_holds_recog_and_nothing_else(built):
    with zipfile.ZipFile(next(built.glob('*.whl'))) as wheel:
        names = wheel.namelist()
    tops = {name.partition('/')[0] for name in names}
    assert tops == {'recog', next(top for top in tops if top.endswith('.dist-info'))}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'recog').rglob('*.py')}
    assert modules == {name for name in names if name.endswith('.py')}
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / 'recog/server/page').iterdir()}
    assert {*pages, 'recog/looks/style.css', 'recog/py.typed'} <= set(names)


def test_the_sdist_holds_the_license_and_recog(built):
    with tarfile.open(next(built.glob('*.tar.gz'))) as sdist:
        names = {name.partition('/')[2] for name in sdist.getnames()}
    assert {'LICENSE', 'README.md', 'setup.cfg', 'pyproject.toml', 'recog/__main__.py',
            'recog/models/crnn.py'} <= names


def test_a_clone_called_recog_does_not_hide_the_package_from_the_folder_above(built, tmp_path):
    with DefaultIsolatedEnv() as environment:
        builder = ProjectBuilder.from_isolated_env(environment, built / 'source', quiet_subprocess_runner)
        environment.install(builder.build_system_requires)
        builder.build('editable', tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as wheel:
        added = {name: wheel.read(name).decode().strip() for name in wheel.namelist()
                 if 'dist-info' not in name}
    # A path, behind which Python looks for a package once it has found a folder that is none; no finder.
    assert list(added.values()) == [str(built / 'source')] and next(iter(added)).endswith('.pth')


def test_no_folder_beside_recog_is_a_package():
    for name in ('datasets', 'experiments', 'tests'):
        assert not (ROOT / name / '__init__.py').exists()


def test_tensorflow_is_no_dependency():
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    needed = parser['options']['install_requires'] + ''.join(parser['options.extras_require'].values())
    assert not [line for line in needed.split('\n') if line.startswith('tensorflow')
                and 'datasets' not in line]


def test_the_version_to_cite_and_the_newest_that_is_described_are_the_packages():
    assert f'\nversion: {__version__}\n' in (ROOT / 'CITATION.cff').read_text()
    assert re.search(r'^## (\S+)', (ROOT / 'CHANGELOG.md').read_text(), re.M)[1] == __version__


def test_what_make_is_said_to_do_it_can():
    said = set(re.findall(r'`make (\w+)`', (ROOT / 'CONTRIBUTING.md').read_text()))
    assert said == set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.M)) != set()


def test_the_versions_that_were_tested_are_those_that_are_asked_for():
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    asked = parser['options']['install_requires'] + parser['options.extras_require']['test']
    pinned = {canonicalize_name(name): version for name, _, version in
              (line.partition('==') for line in (ROOT / 'constraints.txt').read_text().splitlines()[1:])}
    needed = [Requirement(line) for line in asked.split('\n') if line]
    assert needed and not [str(each) for each in needed
                           if not each.specifier.contains(pinned[canonicalize_name(each.name)])]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f'{node.module}.{alias.name}' for alias in node.names))


def test_recog_imports_neither_experiments_nor_datasets_and_flax_only_in_its_models():
    for path in (ROOT / 'recog').rglob('*.py'):
        names = set(imports(path))
        tops = {name.partition('.')[0] for name in names}
        assert not tops & {'experiments', 'datasets', 'tests', 'tensorflow'}, path
        if 'models' not in path.relative_to(ROOT).parts:
            assert not {name for name in names if name.startswith('flax')}, path
