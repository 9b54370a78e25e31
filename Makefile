# The commands that a developer needs; .ci/run does all of it from scratch, and more.
.PHONY: install test slow lint docs build

install:
	python3 -m venv .venv
	.venv/bin/pip install -e '.[test,docs,notebook]' twine

test:
	.venv/bin/pytest

slow:
	.venv/bin/pytest -m slow

lint:
	.venv/bin/ruff check .
	.venv/bin/mypy

docs:
	.venv/bin/sphinx-build -W --keep-going docs site

build:
	.venv/bin/python -m build
	.venv/bin/twine check dist/*
