"""`recog pull` and `recog push`, against a server that speaks the Hub's protocol and serves plain folders."""

import json
import os
import subprocess
import sys

import hub_server
import pytest
from readers import READ, SAMPLES
from small import ROOT, on

from recog.commands import command_line
from recog.errors import ConfigError
from recog.publish import addresses
from recog.reading import named
from recog.workdir import published


@pytest.fixture
def hub(monkeypatch):
    """A hub of this test."""
    from huggingface_hub import constants

    with hub_server.serving() as serving:
        monkeypatch.setattr(constants, 'ENDPOINT', serving.address)  # as HF_ENDPOINT does
        monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE',
                            serving.address + '/{repo_id}/resolve/{revision}/{filename}')
        monkeypatch.setattr('time.sleep', lambda seconds: None)  # between tries
        yield serving


@pytest.fixture
def plain(hub, reader):
    """The address of the reader as a plain folder."""
    hub.files = {f'/any/small/{file.name}': file.read_bytes() for file in reader.iterdir()}
    return f'{hub.address}/any/small'


@pytest.fixture
def run(capsys):
    def command(*arguments):
        status = command_line.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err
    return command


def same(folder, reader):
    return {file.name: file.read_bytes() for file in folder.iterdir()} == \
        {file.name: file.read_bytes() for file in reader.iterdir()}


def test_a_reader_that_was_pushed_is_pulled_and_read_by_its_address(reader, tmp_path):
    with hub_server.serving() as hub:
        known = {**os.environ, 'HF_ENDPOINT': hub.address, 'HF_TOKEN': 'right', 'XLA_FLAGS': on(1)}

        def command(*arguments):
            line = [sys.executable, '-m', 'recog', *map(str, arguments)]
            return subprocess.run(line, cwd=ROOT, env=known, capture_output=True, text=True, check=True)

        pushed = command('push', reader, 'hf://me/small').stdout
        commit = hub.heads['me/small', 'main']
        assert pushed == f'{hub.address}/me/small/commit/{commit}\n'
        assert hub.commits[commit].keys() == {*published.MEASURED, 'reader.json', 'README.md'}
        assert hub.commits[commit]['README.md'].endswith((reader / 'card.md').read_bytes())
        pulled = command('pull', f'hf://me/small@{commit}')
        assert f'commit {commit}' in pulled.stderr and same(named.pulled(f'hf://me/small@{commit}'), reader)
        assert pulled.stdout == f'{named.pulled(f"hf://me/small@{commit}")}\n'
    read = command('predict', f'hf://me/small@{commit}', *SAMPLES).stdout
    assert [line.split('\t')[1] for line in read.splitlines()] == READ


def test_a_plain_folder_is_pulled_and_listed(plain, run, reader):
    status, out, err = run('pull', plain + '/')
    assert status == 0 and out == f'{named.pulled(plain)}\n' and same(named.pulled(plain), reader)
    assert named.find(plain) == named.pulled(plain)
    assert any(line.startswith(f'{plain}: latex_ocr, ') for line in run('readers')[1].splitlines())


def test_a_download_that_breaks_off_goes_on_where_it_was(plain, hub, run, reader, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE', 1000)
    hub.cut = 20_500
    assert run('pull', plain)[0] == 0 and same(named.pulled(plain), reader)
    assert len(hub.ranges) == 1 and 0 < hub.ranges[0] <= 20_500


def test_a_pull_that_was_stopped_goes_on_where_it_was(plain, hub, run, reader):
    weights = (reader / 'weights.safetensors').read_bytes()
    content = hub.files.pop('/any/small/weights.safetensors')
    draft = named.pulled(plain).parent / '.unfinished' / named.pulled(plain).name
    assert run('pull', plain)[0] == 2 and not named.pulled(plain).exists()
    part = next(draft.glob('weights.safetensors-*.part'))
    part.write_bytes(weights[:7000])
    hub.files['/any/small/weights.safetensors'] = content
    assert run('pull', plain)[0] == 0 and hub.ranges == [7000] and same(named.pulled(plain), reader)


@pytest.mark.parametrize('longer', [0, 1])
def test_a_file_that_is_not_what_was_published_is_refused_and_the_reader_that_was_here_stays(
        plain, hub, run, reader, longer):
    assert run('pull', plain)[0] == 0
    name = '/any/small/weights.safetensors'
    hub.files[name] = bytes(len(hub.files[name]) + longer)
    status, out, err = run('pull', plain)
    assert (status, out, err.count('\n')) == (2, '', 1) and 'weights.safetensors' in err
    assert ('is longer than' if longer else 'another SHA-256') in err
    assert same(named.pulled(plain), reader)


def test_a_manifest_without_end_or_of_other_files_is_refused(plain, hub, run):
    manifest = json.loads(hub.files['/any/small/reader.json'])
    manifest['files']['../../.profile'] = {'sha256': 64 * '0', 'bytes': 3}
    manifest['digest'] = published.digest(manifest)
    for content, said in ((json.dumps(manifest).encode(), 'was not written by recog publish'),
                          (bytes(2_000_000), 'is longer than 1,000,000 bytes')):
        hub.files['/any/small/reader.json'] = content
        status, _, err = run('pull', plain)
        assert status == 2 and said in err and err.count('\n') == 1


def test_a_wrong_address_or_no_network_is_one_line(hub, run, reader, monkeypatch):
    hub.commit('me/small', {'README.md': b'nothing'})
    for said, command in (
            ('there is no such repository', ('pull', 'hf://me/none')),
            ("there is no revision 'v7'", ('pull', 'hf://me/small@v7')),
            ('there is no published reader', ('pull', 'hf://me/small')),
            ('there is no published reader', ('pull', f'{hub.address}/nowhere')),
            ('it asks for a token', ('push', reader, 'hf://me/new')),
            ('it cannot be reached: ', ('pull', 'http://127.0.0.1:9/small')),
            ('must be hf://OWNER/NAME', ('push', reader, 'hf://me/new@v7'))):
        status, out, err = run(*command)
        assert status == 2 and out == ''
        assert said in err and err.count('\n') == 1 + err.count(': commit ')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert 'HF_HUB_OFFLINE' in run('pull', 'hf://me/small')[2]


@pytest.mark.parametrize('text', ['hf://small', 'hf://a/b/c', 'hf://a/b@', 'http://example.org/a', 'ftp://a/b',
                                  'https://', 'words', 'https://a/b?c=d'])
def test_an_address_that_is_not_fetched_is_refused(text):
    with pytest.raises(ConfigError, match='must be hf://OWNER/NAME'):
        addresses.parse(text)


def test_an_address_names_its_parts():
    assert addresses.parse('hf://me/small@v1/a') == ('hf://me/small@v1/a', 'me/small', 'v1/a')
    assert addresses.parse('https://example.org/a/small/') == ('https://example.org/a/small', '', '')
