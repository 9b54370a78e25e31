"""Runs the notebook of the first steps on a few images; it needs the extra `notebook`.

    python tests/programs/notebook.py
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / 'docs' / 'notebooks' / 'first_steps.ipynb'


def main() -> int:
    """Run every cell; one that fails ends the program with its traceback."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    with tempfile.TemporaryDirectory() as place:
        parameters, = (cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', ()))
        parameters.source = f"length, workdir = '640 images', '{place}/run'"
        NotebookClient(notebook, timeout=600, kernel_name='python3',
                       resources={'metadata': {'path': str(ROOT)}}).execute()
    said = notebook.cells[-2].outputs[-1]
    assert said.name == 'stdout' and said.text.split(), said  # a text, perhaps none, and its confidence
    print('the notebook ran: it read', said.text.strip())
    return 0


if __name__ == '__main__':
    sys.exit(main())
