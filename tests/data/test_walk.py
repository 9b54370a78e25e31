"""Folders are visited once, and patterns stand for what `glob` finds, but for links in circles."""

import glob
import os
import stat

import pytest
from hostile_images import encoded
from PIL import Image

from recog.data import walk
from recog.data.files import Files, find_images
from recog.errors import ConfigError

NAMES = ('a.png', 'b/a.png', 'b/c/d/a.png', 'b/.hidden/a.png', '.hidden/a.png', 'e/b.jpg', 'e[1]/c.png')


@pytest.fixture
def tree(tmp_path):
    """Images in folders, some of them hidden."""
    for name in NAMES:
        (tmp_path / 'tree' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'tree' / name).write_bytes(encoded(Image.new('RGB', (4, 4)), 'png'))
    return tmp_path / 'tree'


def circled(tree):
    """The tree with links that lead back to it, so that each level doubles the paths."""
    for name in ('a circle', 'b/back', 'z'):
        (tree / name).symlink_to(tree)
    return tree


def below(tree):
    return {os.path.relpath(file, tree) for file in walk.files(tree)}


def test_every_folder_is_visited_once_and_by_its_own_path(tree):
    assert below(tree) == below(circled(tree)) == set(NAMES)
    (tree / 'b/linked').symlink_to(tree / 'e')
    assert below(tree) == set(NAMES)


def test_a_folder_that_only_a_link_leads_to_is_visited(tree, tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere/f.png').touch()
    (tree / 'link').symlink_to(tmp_path / 'elsewhere')
    assert below(tree) == {*NAMES, 'link/f.png'}


def test_what_is_no_folder_is_named_also_where_nothing_can_be_read(tree):
    (tree / 'nowhere').symlink_to(tree / 'gone')
    (tree / 'itself').symlink_to(tree / 'itself')
    os.mkfifo(tree / 'pipe')
    assert below(tree) == {*NAMES, 'nowhere', 'itself', 'pipe'}


def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch):
    def refused(folder, scan=os.scandir):
        if str(folder).endswith('/e'):
            raise PermissionError(13, 'Permission denied', folder)
        return scan(folder)

    monkeypatch.setattr(os, 'scandir', refused)
    with pytest.raises(ConfigError, match=f'folder {tree}/e cannot be read'):
        below(tree)


@pytest.mark.parametrize('pattern', ['**/*.png', '**', '*/*.png', 'b/**/a.png', 'b/**/d/**', '**/c/**/*.png',
                                     'e[[]1]/**/*.png', 'nothing/**/*.png', '**/*.gif', '[be]/**/*.???'])
def test_patterns_stand_for_the_files_that_glob_finds(tree, pattern, monkeypatch):
    monkeypatch.chdir(tree)
    for whole in (pattern, f'{tree}/{pattern}'):
        wanted = {name for name in glob.glob(whole, recursive=True) if os.path.isfile(name)}
        assert {name for name in walk.matching(whole) if os.path.isfile(name)} == wanted
        assert wanted or 'nothing' in pattern or 'gif' in pattern


def test_patterns_end_where_links_go_in_circles(tree):
    found = walk.matching(f'{circled(tree)}/**/*.png')
    assert {os.path.relpath(name, tree) for name in found} == {name for name in NAMES if '.hidden' not in name
                                                               and name.endswith('png')}


def test_pipes_among_images_are_named_and_the_rest_is_read(tree):
    os.mkfifo(tree / 'b/pipe.png')
    (tree / 'zeros.png').symlink_to('/dev/zero')
    paths = find_images([str(tree), str(tree / 'b/pipe.png'), f'{tree}/b/*.png'])
    source = Files('images', paths)
    reasons = [row.reason for row in source.rows(range(len(source)))]
    for path, reason in zip(paths, reasons, strict=True):
        odd = not stat.S_ISREG(os.stat(path).st_mode)
        assert reason == ('is no regular file' if odd else ''), path
    assert reasons.count('is no regular file') == 4 and len(paths) == len(NAMES) + 2 + 1 + 2


def test_an_image_that_is_not_there_is_refused(tree):
    with pytest.raises(ConfigError, match='gone.png does not exist'):
        find_images([str(tree / 'gone.png')])
