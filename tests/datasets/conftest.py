"""What the tests of the builders' scripts share: the script, its command,
and reports without their picture."""

import pytest
from builders import load

from recog import prepare
from recog.prepare import sheet


@pytest.fixture(autouse=True)
def _no_sheet(monkeypatch):
    """report.png, which takes most of the time of a small set, is empty here; tests/prepare looks at it."""
    monkeypatch.setattr(sheet, 'draw', lambda file, *_: file.touch())


@pytest.fixture(scope='module')
def script(request):
    """The module of the script that a file of tests names in SCRIPT."""
    return load(request.module.SCRIPT)


@pytest.fixture
def run(script, request, tmp_path, capsys):
    """Call the script's command; returns its status and what it printed.
    A file of tests may give its set a NAME."""
    kinds = [each for each in vars(script).values() if isinstance(each, type)
             and issubclass(each, prepare.Builder)]
    usual = getattr(request.module, 'NAME', '')

    def call(*arguments, source=tmp_path / 'source', name=usual):
        fixed = ['--source', str(source), '--data', str(tmp_path / 'data'), '--workers', '1']
        named = ['--name', name] if name else []
        # The script's own builder stands last.
        status = prepare.main(kinds[-1], [*fixed, *named, *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out + captured.err
    return call
