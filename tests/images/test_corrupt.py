"""Corruptions are the same whenever they are made, and bear images of any form and size."""

import numpy as np
import pytest

from recog.images.corrupt import CORRUPTIONS, SEVERITIES, corrupted

IMAGE = np.random.default_rng(0).integers(60, 200, (40, 100, 3), np.uint8)
PLAIN = ('size', 'pixelate', 'defocus_blur', 'contrast', 'jpeg_compression', 'loose_crop', 'tight_crop')


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_a_corruption_is_always_the_same_and_another_for_each_image_and_severity(name):
    every = [corrupted(IMAGE, name, severity, 0, 3) for severity in SEVERITIES]
    before = IMAGE.copy()
    for severity, found in zip(SEVERITIES, every, strict=True):
        assert found.dtype == np.uint8 and found.ndim == 3 and found.flags['C_CONTIGUOUS']
        assert np.array_equal(found, corrupted(IMAGE, name, severity, 0, 3))
    assert len({found.tobytes() for found in every}) == 5 and np.array_equal(IMAGE, before)
    others = {corrupted(IMAGE, name, 2, 0, number).tobytes() for number in range(8)}
    assert (len(others) > 1) == (name not in PLAIN)
    for shape in ((1, 1, 3), (3, 2, 3), (1, 40, 3), (20, 50, 1), (20, 50)):
        for severity in SEVERITIES:
            small = corrupted(np.full(shape, 90, np.uint8), name, severity, 0, 0)
            assert small.size and small.ndim == (3 if shape[2:] == (3,) else 2)


def test_each_does_what_its_name_says():
    def of(name, severity):
        return corrupted(IMAGE, name, severity, 0, 1)
    assert of('rotation', 4).shape == (100, 40, 3) and np.array_equal(of('rotation', 5), IMAGE[::-1, ::-1])
    assert of('rotation', 1).shape > IMAGE.shape and of('size', 2).shape == (20, 50, 3)
    assert of('contrast', 5).std() == pytest.approx(0.05 * IMAGE.std(), abs=0.5)
    assert np.array_equal(of('tight_crop', 5), IMAGE[8:-8, 8:-8])
    assert np.array_equal(of('loose_crop', 5)[40:-40, 40:-40], IMAGE)
    covered = (of('occlusion', 5) != IMAGE).any(2)
    assert covered.mean() == pytest.approx(0.3, abs=0.04)
    changed = (of('impulse_noise', 5) != IMAGE).mean()
    assert changed == pytest.approx(0.27, abs=0.04)
    plain = np.zeros((101, 101), np.uint8)
    plain[50, 50] = 255
    blurred = corrupted(plain, 'defocus_blur', 5, 0, 0).astype(float)
    assert (blurred > 0).sum() == pytest.approx(np.pi * (10 * 101 / 224) ** 2, rel=0.4)
    smeared = corrupted(np.full((60, 80), 77, np.uint8), 'motion_blur', 5, 0, 0)
    assert set(np.unique(smeared)) <= {76, 77}
