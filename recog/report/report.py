"""`recog report`: one HTML page with all that a workdir holds of its run; its
pictures are also saved as files beside it."""

import sys
from pathlib import Path
from typing import Any

import jax

from recog.devices.mesh import one_device
from recog.errors import ConfigError
from recog.looks import markup
from recog.looks.charts import Album
from recog.metrics.words import wilson_interval
from recog.report import calibration, examples, groups, looked, record, robustness, sections
from recog.report.gallery import Gallery
from recog.workdir.description import read_config
from recog.workdir.folder import Mirror
from recog.workdir.opened import Opened, open_workdir


def write_report(folder: Any, out: Path | None, root: str, devices: list[jax.Device], *, only: str = '',
                 step: int | None = None) -> Any:
    """Write the page of a workdir to `out`, else to report.html in the workdir; returns its path."""
    config = read_config(folder)
    mirror = Mirror(folder)
    file = out or mirror.here / 'report.html'
    found = record.read(mirror.here, folder.name or str(folder), config, (only,) if only else (), step)
    opened, why = _open(folder, found, step, devices)
    for each in found.unread:
        print(f'recog report: {each}', file=sys.stderr)
    write(file, found, opened, why, root, devices)
    mirror.close()
    return out or folder / 'report.html'


def write(file: Path, found: record.Record, opened: Opened | None, why: str, root: str | Path,
          devices: list[jax.Device]) -> None:
    """Write the page, and its pictures to the folder of the same name. Without a model it has only the
    parts that need none, and says `why`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    album = Album(file.with_suffix(''))
    gallery = Gallery(found.config, root, found.sets)
    shown, explainer = examples.choose(found, gallery), None
    if opened is not None:
        beam = int(found.facts['beam']) if 'beam' in found.facts else 1
        shown = examples.readings(opened, shown, beam, one_device(devices[0]))
        explainer = looked.Explainer(opened, album)
    parts = [
        examples.samples(found, shown, gallery, album), sections.results(found),
        examples.mistakes(found, shown, gallery, album, explainer),
        examples.suspects(found, shown, album, explainer),
        groups.groups(found, gallery, root, album), sections.lengths(found, album),
        calibration.calibration(found, album), robustness.corrupted(found, album),
        sections.confusion(found, album),
        looked.attention(found, shown.right, shown.samples, gallery, explainer),
        looked.features(shown.samples, gallery, opened, album),
        sections.curves(found, album), sections.speed(found, album, devices[0].device_kind),
        sections.run(found, opened, ' '.join([why, *(f'{each}.' for each in found.unread)]).strip())]
    file.write_text(markup.page(f'recog report: {found.name}', _lead(found), parts), encoding='utf-8')


def _open(folder: Any, found: record.Record, asked: int | None, devices: list[jax.Device]
          ) -> tuple[Opened | None, str]:
    """The model at the step that was asked for, else at the measured one,
    else at any; and a remark for the page."""
    measured, why = found.facts['step'] if 'step' in found.facts else None, ''
    if asked is not None:
        other = measured is not None and measured != asked
        said = f'The results are those of step {measured}; step {asked} has read the images below.'
        return open_workdir(folder, asked, one_device(devices[0])), said if other else ''
    for wanted in dict.fromkeys([measured, None]):
        try:
            return open_workdir(folder, wanted, one_device(devices[0])), why
        except ConfigError as error:  # the page says so, and has the parts that need no model
            why = f'What was measured cannot be opened: {error}.' if measured is not None else f'{error}.'
    return None, why


def _lead(found: record.Record) -> markup.Html:
    """The headline: the accuracy of each set, and what was trained on what."""
    figures = []
    for name, each in found.sets.items():
        if 'accuracy' in each:
            low, high = wilson_interval(int(each['right']), int(each['count']))
            figures.append(markup.element(
                'div', markup.element('strong', f'{each["accuracy"]:.1%}'),
                f'right of {int(each["count"]):,} in {name}',
                markup.element('div', f'95 % interval {low:.1%} to {high:.1%}', class_='faint')))
    trained = ', '.join(found.config.data.train)
    step = f', step {found.facts["step"]}' if 'step' in found.facts else ''
    said = markup.paragraph(f'{found.config.model.name}, trained on {trained}{step}'
                            + ('' if figures else ': not evaluated yet'), faint=True)
    return markup.joined([said, *([markup.element('div', *figures, class_='headline')] if figures else [])])
