import cv2
import numpy as np
import pytest
from small import DEMO

from recog.commands import command_line
from recog.config import checks, recipe
from recog.config.fields import FIELDS
from recog.errors import ConfigError
from recog.images import augment, ink, warp
from recog.report import augmentations as sheet

GEOMETRY = ('scale', 'stretch', 'rotation', 'perspective', 'curve', 'elastic')
FULL = {name: most for name, most in augment.PLAIN.items() if name not in GEOMETRY} | {
    'scale': 0.5, 'stretch': 1.0, 'rotation': 45.0, 'perspective': 0.25, 'curve': 1.0, 'elastic': 2.0}


def rule(**fields):
    fields = {'probability': 1.0, **fields}
    return recipe.changed(recipe.base(name='crnn').image.augment, fields)


def picture(height: int = 40, width: int = 120) -> np.ndarray:
    """A BGR word on a coloured ground."""
    image = np.full((height, width, 3), (200, 170, 140), np.uint8)
    return cv2.putText(image, 'word', (4, height - 12), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (20, 40, 90), 3)


def draws(image, allowed, count=30):
    return [augment.augment(image, augment.generator(0, 0, index), allowed) for index in range(count)]


def test_the_recipe_has_a_field_for_each_augmentation_and_all_are_off():
    fields = FIELDS['image']['augment']
    assert set(fields) == {'probability', 'on_canvas', 'operations', 'magnitude', *augment.PLAIN}
    assert not any(fields[name] for name in ('on_canvas', 'operations', *augment.PLAIN))
    full = {f'image.augment.{name}': most for name, most in FULL.items()}
    checks.check(recipe.changed(recipe.base(name='crnn'), full))


def test_no_augmentation_returns_the_image_itself_and_draws_nothing():
    image, random = picture(), augment.generator(0, 0, 0)
    for off in (rule(), rule(**augment.PLAIN, probability=0.0)):
        assert augment.augment(image, random, off) is image and not augment.augments(off)
    assert random.random() == augment.generator(0, 0, 0).random()


@pytest.mark.parametrize('name', augment.PLAIN)
def test_each_augmentation_changes_the_image_by_itself_and_not_the_original(name):
    allowed, image = rule(**{name: augment.PLAIN[name]}), picture()
    changed = augment.augment(image, augment.generator(0, 0, 0), allowed)
    assert augment.augments(allowed) and changed.dtype == np.uint8 and changed.shape[2] == 3
    assert changed.shape != image.shape or not np.array_equal(changed, image)
    np.testing.assert_array_equal(image, picture())


def test_the_same_example_of_the_same_epoch_is_changed_alike():
    allowed, image = rule(**augment.PLAIN), picture()
    once = augment.augment(image, augment.generator(5, 2, 7), allowed)
    np.testing.assert_array_equal(once, augment.augment(image, augment.generator(5, 2, 7), allowed))
    for other in ((6, 2, 7), (5, 3, 7), (5, 2, 8), (2, 5, 7)):
        assert not np.array_equal(augment.augment(image, augment.generator(*other), allowed), once)


def test_augmentation_happens_with_its_probability():
    image = picture()
    changed = sum(drawn is not image for drawn in draws(image, rule(probability=0.25, blur=2.0), 800))
    assert 160 < changed < 240


@pytest.mark.parametrize('shape', [(32, 120), (60, 9), (40, 40), (1, 1)])
@pytest.mark.parametrize('names', [('rotation', 'perspective'), ('curve',), ('stretch', 'curve'), GEOMETRY])
def test_no_geometry_cuts_anything_off(shape, names):
    height, width = shape
    image, side = np.full((*shape, 3), 128, np.uint8), max(1, min(height, width) // 3)
    corners = {(0, 0): (255, 0, 0), (0, 1): (0, 255, 0), (1, 0): (0, 0, 255), (1, 1): (255, 255, 0)}
    for (bottom, right), colour in corners.items():
        image[bottom * (height - side):, right * (width - side):][:side, :side] = colour
    present = [colour for colour in corners.values() if (image == colour).all(2).any()]
    strengths = {'scale': 0.2, 'stretch': 0.5, 'rotation': 20.0, 'perspective': 0.2, 'curve': 0.5,
                 'elastic': 1.0}
    for changed in draws(image, rule(**{name: strengths[name] for name in names})):
        for colour in present:
            assert (np.abs(changed.astype(int) - colour).max(2) < 60).any()


@pytest.mark.parametrize('names', [*((name,) for name in GEOMETRY), GEOMETRY])
def test_every_pixel_of_the_edges_is_found_again_at_the_largest_strengths(names):
    height, width = 24, 60
    rows, columns = np.mgrid[:height, :width]
    inner = (rows >= 3) & (rows < height - 3) & (columns >= 3) & (columns < width - 3)
    image = np.stack([columns * 4, rows * 10, np.where(inner, 0, 255)], 2).astype(np.uint8)
    edge = image[(rows == 0) | (rows == height - 1) | (columns == 0) | (columns == width - 1)].astype(int)
    strengths = {**FULL, 'perspective': 0.2, 'elastic': 1.0}
    for index in range(6):
        for sign in (1, -1):
            chosen = {name: sign * strengths[name] if name in augment.SIGNED else strengths[name]
                      for name in names}
            changed = augment.change(image, augment.generator(0, 0, index), chosen)
            near = np.abs(edge[:, None] - changed.reshape(1, -1, 3)) <= (8, 14, 120)
            assert near.all(2).any(1).all()


def test_a_stretch_makes_wider_or_higher_and_never_smaller():
    shapes = [changed.shape[:2] for changed in draws(picture(), rule(stretch=0.5))]
    assert all(40 <= height <= 60 and 120 <= width <= 180 for height, width in shapes)
    assert all(height == 40 or width == 120 for height, width in shapes)
    assert max(height for height, _ in shapes) > 50 and max(width for _, width in shapes) > 150


@pytest.mark.parametrize('sign', [1, -1])
def test_a_curve_moves_the_middle_of_a_line_and_not_its_ends(sign):
    image = np.full((40, 120), 255, np.uint8)
    image[18:22] = 0
    bent = augment.change(image, augment.generator(0, 0, 0), {'curve': sign * 0.5})
    middle, ends = (bent.shape[0] - 20 * sign) / 2 + 20 * sign - 0.5, (bent.shape[0] - 20 * sign) / 2 - 0.5
    where = [np.flatnonzero(bent[:, column] < 128).mean() for column in (0, 60, 119)]
    assert bent.shape == (60, 120) and where == pytest.approx([ends, middle, ends], abs=1.0)


def test_turned_by_a_right_angle_every_pixel_is_kept():
    image = picture(24, 40)
    for turns in (1, 2):
        turned = augment.change(image, augment.generator(0, 0, 0), {'rotation': 90.0 * turns})
        assert np.abs(turned.astype(int) - np.rot90(image, -turns)).max() <= 1


def test_brightness_and_contrast_stay_within_their_share():
    image = np.full((8, 8, 3), 120, np.uint8)
    image[:, 4:] = 140
    for brighter in draws(image, rule(brightness=0.1)):
        assert np.abs(brighter.astype(int) - image).max() <= 26
        assert (brighter[0, 7] - brighter[0, 0] == 20).all()
    for contrast in draws(image, rule(contrast=0.5)):
        assert contrast.mean() == pytest.approx(130, abs=1)
        assert 10 <= int(contrast[0, 7, 0]) - contrast[0, 0, 0] <= 30


def test_colours_change_within_their_share_and_grey_images_have_none():
    image = np.full((8, 8, 3), (100, 100, 100), np.uint8)
    drawn = np.array([changed[0, 0] for changed in draws(image, rule(colour=0.3))]).astype(int)
    assert (np.abs(drawn - 100) <= 31).all() and (np.ptp(drawn, axis=1) > 5).mean() > 0.5
    grey = image[:, :, 0]
    np.testing.assert_array_equal(augment.change(grey, augment.generator(0, 0, 0), {'colour': 0.3}), grey)


@pytest.mark.parametrize('name', ['blur', 'motion', 'downscale'])
def test_what_takes_sharpness_keeps_size_and_brightness_and_spares_small_images(name):
    image = picture()
    softer = augment.change(image, augment.generator(0, 0, 0), {name: augment.PLAIN[name]})
    assert softer.shape == image.shape and softer.mean() == pytest.approx(image.mean(), abs=2)
    soft, sharp = (np.abs(np.diff(each.astype(int), axis=1)).mean() for each in (softer, image))
    assert soft < 0.8 * sharp
    lines = np.full((6, 60), 255, np.uint8)
    lines[:, ::6] = lines[:, 1::6] = 0
    changed = augment.change(lines, augment.generator(0, 0, 0), {name: augment.PLAIN[name]})
    assert np.ptp(changed.astype(int)) > 150


@pytest.mark.parametrize('shape', [
    (1, 1), (60, 1), (1, 60), (600, 10), (1, 30_000), (32, 30_000), (32, 33_000), (2300, 2000)])
@pytest.mark.parametrize('channels', [(), (1,), (3,)])
def test_no_shape_is_too_narrow_or_too_large(shape, channels):
    image = np.full((*shape, *channels), 90, np.uint8)
    for strengths in ({'curve': 1.0}, {'rotation': 45.0}, {'jpeg': 95.0}, {**FULL, 'noise': 0.0}):
        changed = augment.change(image, augment.generator(0, 0, 0), strengths)
        assert changed.dtype == np.uint8 and changed.ndim == (3 if channels == (3,) else 2)
        assert 0 < changed.shape[0] * changed.shape[1] <= 1.01 * warp.MOST_PIXELS


@pytest.fixture
def words(tmp_path):
    folder = tmp_path / 'words'
    folder.mkdir()
    for name, shape in (('a.png', (40, 120)), ('b.png', (60, 20)), ('c.png', (1, 300))):
        cv2.imwrite(str(folder / name), picture(*shape))
    return folder


def run(capsys, *arguments):
    status = command_line.main(['augment', *map(str, arguments)])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_the_command_draws_a_line_for_each_augmentation_and_a_column_for_each_image(words, capsys, tmp_path):
    def size(lines, images):
        """Width of the sheet, and the least and the greatest height it may have."""
        bands = -(-images // sheet.ACROSS)
        group = 3 * (sheet.WIDTH + sheet.GAP) + sheet.MARGIN
        least, most = (sheet.MARGIN + bands * (sheet.HEAD + lines * (sheet.HEAD + cell))
                       for cell in (1, sheet.HIGHEST))
        return sheet.LABEL + sheet.MARGIN + group * min(images, sheet.ACROSS), range(least, most + 1)

    recipe = ('--config', DEMO, '--config.image.augment.blur=1.0', '--config.image.augment.rotation=5.0')
    file = tmp_path / 'new' / 'sheet.png'
    assert run(capsys, words, *recipe, '--out', file) == (0, f'{file}\n', '')
    once, page = file.read_bytes(), cv2.imread(str(file))
    width, heights = size(2 + sheet.TRAINING, 3)
    assert page.shape[1] == width and page.shape[0] in heights
    # The first picture of an image beside it: rotated to the left, not, and to the right.
    turned = page[sheet.MARGIN + sheet.HEAD + 20:][:40, sheet.LABEL + sheet.MARGIN:]
    assert all(turned[:, side * (sheet.WIDTH + sheet.GAP):][:, :100].std() > 10 for side in range(3))
    run(capsys, words, *recipe, '--out', file)
    assert file.read_bytes() == once
    status, *_ = run(capsys, words / 'a.png', '--config', DEMO, '--config.image.channels=grey', '--all',
                     '--out', file)
    width, heights = size(len(augment.PLAIN) + sheet.TRAINING, 1)
    page = cv2.imread(str(file))
    assert status == 0 and page.shape[1] == width and page.shape[0] in heights


def test_the_command_refuses_what_it_cannot_draw_in_one_line(words, capsys, tmp_path):
    file = tmp_path / 'sheet.png'
    (words / 'd.png').write_bytes(b'no image')
    for arguments, message in [
        ((words, '--config', DEMO, '--out', file),
         'the recipe changes no image: config.image.augment is off; --all shows every'),
        ((words, '--config', DEMO, '--all', '--out', file), f'image {words / "d.png"}: is not an image'),
        ((words / 'e.png', '--config', DEMO, '--all', '--out', file),
         f'image {words / "e.png"} does not exist'),
        ((words, '--config', DEMO, '--all', '--out', tmp_path / 'sheet.jpg'),
         'sheet.jpg must be a file that ends in .png'),
        ((words, '--all', '--out', file), '--config FILE:VARIANT is needed'),
        ((*[words / 'a.png'] * 101, '--config', DEMO, '--all', '--out', file), '101 images are too many'),
    ]:
        status, out, err = run(capsys, *arguments)
        assert status == 2 and out == '' and message in err and err.count('\n') == 1 and not file.exists()


def strokes() -> list[np.ndarray]:
    """A cross and a dot, in the units of some tablet."""
    return [np.array([(0.0, 0.0), (900.0, 900.0)]), np.array([(900.0, 0.0), (0.0, 900.0)]),
            np.array([(1500.0, 850.0)])]


@pytest.mark.parametrize('ground', [0, 255])
def test_a_stroke_becomes_thicker_or_thinner_by_so_many_pixels_whether_ink_is_light_or_dark(ground):
    image = np.full((40, 60), ground, np.uint8)
    image[10:14] = 255 - ground
    for pixels in (-2.0, -1.5, 1.0, 2.5):
        changed = augment.change(image, augment.generator(0, 0, 0), {'stroke': pixels})
        thickness = np.abs(changed[:, 30].astype(float) - ground).sum() / 255
        assert thickness == pytest.approx(4 + pixels, abs=0.01)


def test_elastic_moves_places_by_as_many_pixels_at_most_and_neighbours_alike():
    size, strength = (60, 200), dict.fromkeys(augment.PLAIN, 0.0) | {'elastic': 4.0}
    movement = warp.random_warp(size, augment.generator(0, 0, 0), strength)
    places = np.stack(np.meshgrid(np.arange(200.0), np.arange(60.0)), -1)
    moved = warp.move_points(movement, places.reshape(-1, 2)).reshape(places.shape) - places
    assert 1.0 < np.abs(moved).max() <= 4.0
    assert max(np.abs(np.diff(moved, axis=axis)).max() for axis in (0, 1)) < 0.5


@pytest.mark.parametrize('name', GEOMETRY)
def test_points_go_where_their_pixels_go(name):
    strength = dict.fromkeys(augment.PLAIN, 0.0) | {name: augment.PLAIN[name]}
    movement = warp.random_warp((80, 160), augment.generator(0, 0, 3), strength)
    given = np.array([(50, 40), (120, 30)])
    image = np.zeros((80, 160), np.uint8)
    for x, y in given:
        image[y - 1:y + 2, x - 1:x + 2] = 255
    moved = (warp.move_image(movement, image) > 60).astype(np.uint8)
    _, labels, _, centres = cv2.connectedComponentsWithStats(moved)
    assert labels.max() == 2
    got, want = centres[1:][np.argsort(centres[1:, 0])], warp.move_points(movement, given)
    assert np.abs((got[1] - got[0]) - (want[1] - want[0])).max() < 1.5  # the canvas begins elsewhere


def test_ink_is_drawn_anew_as_sharp_as_it_was():
    image = ink.draw(strokes())
    hardly = augment.change(image, augment.generator(0, 0, 0), {'rotation': 1e-6}, strokes())
    assert np.abs(np.subtract(hardly.shape, image.shape)).max() <= 1
    assert abs(int((hardly > 0).sum()) - (image > 0).sum()) < 40
    for name in (*GEOMETRY, 'stroke'):
        changed = augment.change(image, augment.generator(0, 0, 1), {name: augment.PLAIN[name]}, strokes())
        is_moved = set(np.unique(changed)) == {0, 255} and changed.shape != image.shape
        assert is_moved or (changed != image).any(), name
    thick = augment.change(image, augment.generator(0, 0, 0), {'stroke': 1.0}, strokes())
    assert (thick > 0).sum() > 1.2 * (image > 0).sum()
    larger = augment.change(image, augment.generator(0, 0, 0), {'scale': 0.5}, strokes())
    assert larger.shape[0] - 2 * ink.MARGIN == pytest.approx(1.5 * (image.shape[0] - 2 * ink.MARGIN), abs=2)


def test_where_only_light_changes_the_image_is_kept_though_there_is_ink():
    image = ink.draw(strokes())
    image[0, 0] = 200
    changed = augment.change(image, augment.generator(0, 0, 0), {'contrast': 1e-6}, strokes())
    np.testing.assert_array_equal(changed, image)


@pytest.mark.parametrize('shape', [(7, 9, 3), (4, 5, 3), (3, 9, 1), (7, 2)])
def test_the_middle_of_an_image_is_cut_out_and_beyond_it_its_edges_go_on(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    canvas = (5, 5, shape[2] if len(shape) > 2 else 1)
    found = augment.centred(image, canvas)
    assert found.shape == canvas
    rows, columns = ((np.arange(5) + (side - 5) // 2).clip(0, side - 1) if side > 5 else
                     (np.arange(5) - (5 - side) // 2).clip(0, side - 1) for side in shape[:2])
    np.testing.assert_array_equal(found, image.reshape(*shape[:2], -1)[rows][:, columns])


def test_what_leaves_padding_cannot_be_changed_on_its_canvas():
    changes = {'image.augment.on_canvas': True, 'image.fit': 'stretch'}
    config = recipe.changed(recipe.base(name='crnn'), changes)
    checks.check(config)
    with pytest.raises(ConfigError, match='on_canvas=True needs images that fill their canvas: '
                                          "config.image.fit='pad' must be one of stretch, thumbnail"):
        checks.check(recipe.changed(config, {'image.fit': 'pad'}))
