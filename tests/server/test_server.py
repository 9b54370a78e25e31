"""The server as its clients see it: what it answers, to whom, and what it refuses.
Most recognisers here only count."""

import asyncio
import base64
import contextlib
import re
import socket
import zlib

import anyio
import cv2
import httpx
import jax
import numpy as np
import pytest
from counting import READ, Counting, asked, one, picture, serving
from small import ROOT

from recog.commands import command_line
from recog.config import experiments
from recog.errors import ConfigError
from recog.looks.markup import STYLE
from recog.server import demo, serve
from recog.server.app import FILES, PAGE, Server
from recog.server.batching import Reader
from recog.server.intake import Budget, Limits, Refused


async def arrived(reader, count):
    """Wait until this many images are queued or held by the recogniser."""
    while reader.waiting + reader.recognizer.taken < count:
        await asyncio.sleep(0.001)


def test_an_image_gets_its_text_and_confidence():
    response = one(picture(51))
    assert response.status_code == 200
    assert response.json() == {'model': 'fake', 'text': '51', 'confidence': 0.2, 'score': -1.6094,
                               'mean_token': 0.2}


@pytest.mark.parametrize('kind', ['.jpg', '.bmp', '.webp', '.tiff'])
def test_every_format_that_predict_reads_is_taken(kind):
    assert one(picture(255, kind=kind)).json()['text'] == '255'


def test_requests_that_wait_are_read_together_and_everyone_gets_the_answer_to_his_own_image():
    recognizer = Counting()
    reader = Reader('fake', recognizer, batch=8)

    async def work(client):
        recognizer.go.clear()
        recognizer.batches.clear()
        recognizer.taken = 0
        levels = [level for level in range(60) if level != 13]
        waiting = [asyncio.create_task(client.post(READ, content=picture(level))) for level in levels]
        await arrived(reader, 59)
        recognizer.go.set()
        answers = await asyncio.gather(*waiting)
        return [answer.json()['text'] for answer in answers] == [str(level) for level in levels]

    assert serving(work, reader)
    assert max(recognizer.batches) == 8 and sum(recognizer.batches) == 59


def test_the_sizes_that_are_compiled_before_the_server_is_ready():
    recognizer = Counting()
    serving(lambda client: asyncio.sleep(0), Reader('fake', recognizer, batch=6, canvases=[(8, 8), (16, 32)]))
    assert recognizer.batches == [1, 2, 4, 6] * 2


def test_a_beam_search_in_several_sizes_reads_one_image_at_a_time_on_a_cpu():
    sizes = [(8, 8), (16, 32)]
    assert serve.together(10, sizes, 32) == 1
    assert serve.together(1, sizes, 32) == serve.together(10, sizes[:1], 32) == 32


def test_several_files_are_answered_in_their_order_each_with_what_is_wrong_of_it():
    files = [('files', ('some/a.png', picture(1))), ('files', ('b.png', b'no image')),
             ('more', ('c.png', picture(3)))]
    answer = asked((READ, {'files': files, 'data': {'draw': '0'}}))[0]
    assert answer.status_code == 200
    first, second, third = answer.json()['answers']
    assert first == {'name': 'a.png', 'text': '1', 'confidence': 0.0039, 'score': -5.5413,
                     'mean_token': 0.0039} and third['text'] == '3'
    assert second['name'] == 'b.png' and second['status'] == 415 and 'no image' in second['error']


def test_what_is_no_image_is_refused_with_a_reason():
    whole = cv2.imencode('.png',
                         np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))[1].tobytes()
    for content, status, words in ((b'', 400, 'empty'), (b'hello', 415, 'no image'),
                                   (whole[:300], 422, 'truncated'), (b'%PDF-1.4', 415, 'no image')):
        response = one(content)
        assert response.status_code == status and words in response.json()['error'], content[:10]
    forms = [{'files': [('file', ('a.png', b'hello'))]}, {'data': {'draw': '1'}, 'files': {}, 'headers': {
        'content-type': 'multipart/form-data'}}]
    assert [answer.status_code for answer in asked(*((READ, form) for form in forms))] == [415, 400]


def test_beside_others_an_export_keeps_its_beam_and_says_so(tmp_path, capsys):
    (tmp_path / 'manifest.json').write_text('{}')
    assert serve.beam('words', str(tmp_path), 5, True) == 0
    assert capsys.readouterr().err == ('recog serve: words: an export keeps the beam it was made with, '
                                       'so --beam 5 does not count for it\n')


@pytest.mark.parametrize('nbest', ['9' * 5000, '01', '000000001' + '9' * 9, '-1', '1.5', '１'])
def test_a_number_of_texts_that_is_none_is_refused(nbest):
    response = one(picture(1), f'?nbest={nbest}', reader=Reader('fake', Counting(beam=3), batch=1))
    assert response.status_code == 400 and 'must be a number from 1 to 3' in response.json()['error']


@pytest.mark.parametrize('charset', ['punycode', 'idna', 'undefined', 'utf-7', 'x%00y', 'rot13', 'utf-16'])
def test_a_form_in_an_odd_charset_is_refused(charset):
    part = b'--x\r\ncontent-disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + picture(1) + b'\r\n'
    body = part + b'--x\r\ncontent-disposition: form-data; name="draw"\r\n\r\n0\r\n--x--\r\n'
    kind = 'multipart/form-data; boundary=x; charset='
    answers = asked(*((READ, {'content': body, 'headers': {'content-type': kind + each}})
                      for each in (charset, 'UTF-8')))
    assert [answer.status_code for answer in answers] == [400, 200]
    assert 'UTF-8' in answers[0].json()['error']


@pytest.mark.parametrize(('headers', 'status'), [
    ({'host': 'localhost:1'}, 200), ({'host': 'LOCALHOST'}, 200), ({'host': '127.0.0.1:8000'}, 200),
    ({'host': '[::1]:8000'}, 200), ({'host': 'gpu3:80'}, 200), ({'host': 'proxy.example'}, 200),
    ({'host': 'evil.example'}, 403), ({'host': 'localhost.evil.example'}, 403), ({'host': ''}, 403),
    ({'host': 'evil@localhost'}, 403), ({'host': 'evil.example/localhost'}, 403),
    ({'origin': 'http://recog'}, 200), ({'origin': 'https://recog'}, 200),
    ({'host': 'gpu3:80', 'origin': 'https://proxy.example:444'}, 200), ({'origin': 'http://recog:3000'}, 403),
    ({'origin': 'http://evil.example'}, 403), ({'origin': 'null'}, 403), ({'origin': ''}, 403),
    ({'host': 'gpu3', 'origin': 'http://localhost'}, 403)])
def test_only_requests_to_this_server_and_from_its_own_pages_are_answered(headers, status):
    async def run():
        reader = Reader('fake', Counting(), batch=1)
        server = Server([reader], host='gpu3', others=['Proxy.example'])
        transport = httpx.ASGITransport(server.application)
        async with server.application.router.lifespan_context(server.application), \
                httpx.AsyncClient(transport=transport, base_url='http://recog') as client:
            while not reader.ready:
                await asyncio.sleep(0.001)
            posted = await client.post(READ, content=picture(1), headers=headers)
            return posted, await client.get('/health', headers=headers)
    posted, got = asyncio.run(run())
    assert posted.status_code == status and (status == 200 or '--allow-host' in posted.json()['error'])
    host_is_right = status == 200 or 'origin' in headers
    assert got.status_code == (200 if host_is_right else 403)


def test_options_that_a_request_may_not_set_are_refused():
    for query, words in (('?nbest=2', 'without a beam'), ('?explain=1', '--explain'),
                         ('?draw=maybe', '1 or 0'),
                         ('?colour=red', 'not known'), ('?nbest=0', 'nbest'), ('?nbest=%C2%B2', 'nbest')):
        response = one(picture(1), query)
        assert response.status_code == 400 and words in response.json()['error']
    answers = asked(('/v1/models/other/read', {'content': b'x'}),
                    reader=Reader('fake', Counting(beam=3), batch=1))
    assert answers[0].status_code == 404 and 'fake' in answers[0].json()['error']


def test_the_texts_of_the_beam_come_where_they_are_asked_for():
    answer = one(picture(7), '?nbest=2', reader=Reader('fake', Counting(beam=3), batch=1)).json()
    assert [other['text'] for other in answer['nbest']] == ['7-0', '7-1']
    assert answer['nbest'][1]['score'] == -1.0
    wrong = one(picture(7), '?nbest=4', reader=Reader('fake', Counting(beam=3), batch=1))
    assert wrong.status_code == 400 and 'from 1 to 3' in wrong.json()['error']


def test_requests_that_are_too_large_are_refused_before_they_are_read():
    limits = Limits(request=1000, pixels=10_000)

    async def endless():
        while True:
            yield b'x' * 400

    said, streamed = (one(content, limits=limits) for content in (b'x' * 1001, endless()))
    assert said.status_code == streamed.status_code == 413 and '1,000 bytes' in streamed.json()['error']
    assert one(b'x' * 100_000, limits=limits).status_code == 413
    wide = one(picture(1, 100, 101), limits=limits)
    assert wide.status_code == 413 and '10,000' in wide.json()['error']
    assert one(picture(1, 100, 100), limits=limits).status_code == 200


def test_the_limit_of_pixels_holds_for_every_decoder():
    chunk = b'iCCP' + b'name\0\0' + zlib.compress(bytes(2_000_000))
    png = picture(1, 100, 101)
    png = (png[:33] + (len(chunk) - 4).to_bytes(4, 'big') + chunk + zlib.crc32(chunk).to_bytes(4, 'big')
           + png[33:])
    for content in (png, *(picture(1, 100, 101, kind) for kind in ('.bmp', '.jpg', '.ppm'))):
        refused = one(content, limits=Limits(pixels=10_000))
        assert refused.status_code == 413 and '101 x 100' in refused.json()['error']
        assert one(content, limits=Limits(pixels=10_100)).status_code == 200


def test_what_the_queue_has_no_room_for_is_refused_and_the_rest_is_answered():
    recognizer = Counting()
    reader = Reader('fake', recognizer, batch=2)

    async def work(client):
        recognizer.go.clear()
        waiting = [asyncio.create_task(client.post(READ, content=picture(1))) for _ in range(9)]
        while sum(task.done() for task in waiting) < 4:
            await asyncio.sleep(0.001)
        recognizer.go.set()
        answers = await asyncio.gather(*waiting)
        figures = await client.get('/metrics')
        return answers, figures.text

    answers, figures = serving(work, reader, limits=Limits(queue=5))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 4
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert '5 images wait already' in refused.json()['error'] and refused.headers['retry-after']
    assert 'recog_requests_total{model="fake",status="429"} 4.0' in figures
    assert 'recog_waiting_images{model="fake"} 0.0' in figures


def test_a_budget_limits_what_is_used_at_the_same_time():
    budget = Budget(10, 'too much')
    with budget.hold(4) as take, budget.hold(6):
        with pytest.raises(Refused, match='too much'):
            take(1)
    with budget.hold(25) as alone:
        alone(5)
        with pytest.raises(Refused, match='too much'), budget.hold(1):
            pass
    assert budget.used == 0


def test_an_answer_that_does_not_come_in_time_is_given_up():
    recognizer = Counting()
    reader = Reader('fake', recognizer, batch=2)

    async def work(client):
        recognizer.go.clear()
        late = await client.post(READ, content=picture(1))
        recognizer.go.set()
        return late, await client.post(READ, content=picture(2))

    late, next_one = serving(work, reader, limits=Limits(seconds=0.5))
    assert late.status_code == 503 and '0.5 seconds' in late.json()['error']
    assert next_one.json()['text'] == '2'


def test_health_tells_when_the_models_are_warm_and_nothing_is_read_before():
    recognizer = Counting()
    recognizer.go.clear()

    async def work(client):
        cold, early = await client.get('/health'), await client.post(READ, content=picture(1))
        recognizer.go.set()
        while (warm := await client.get('/health')).status_code != 200:
            await asyncio.sleep(0.001)
        return cold, early, warm

    cold, early, warm = serving(work, Reader('fake', recognizer, batch=1), warm=False)
    assert (cold.status_code, cold.json()['models']) == (503, {'fake': 'warming up'})
    assert early.status_code == 503 and 'warming up' in early.json()['error']
    assert warm.json() == {'ready': True, 'models': {'fake': 'ready'}}


def test_a_model_that_cannot_be_warmed_up_says_so_and_reads_nothing():
    reader = Reader('fake', Counting(), batch=1, canvases=[('wide', 'high')])

    async def work(client):
        while not reader.failed:
            await asyncio.sleep(0.001)
        return await client.get('/health'), await client.post(READ, content=picture(1))

    health, answer = serving(work, reader, warm=False)
    assert (health.status_code, answer.status_code) == (503, 503)
    said = 'the model could not be started (TypeError)'
    assert health.json()['models']['fake'] == answer.json()['error'] == said


def test_an_image_that_breaks_the_model_takes_no_other_with_it_and_the_answer_tells_nothing_of_the_inside():
    recognizer = Counting()
    reader = Reader('fake', recognizer, batch=4)

    async def work(client):
        recognizer.go.clear()
        recognizer.taken = 0
        waiting = [asyncio.create_task(client.post(READ, content=picture(level)))
                   for level in (1, 12, 13, 14)]
        await arrived(reader, 4)
        recognizer.go.set()
        return await asyncio.gather(*waiting)

    answers = serving(work, reader)
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200]
    assert 'secret' not in answers[2].text


def test_when_the_server_stops_what_waits_is_still_read():
    recognizer = Counting()
    reader = Reader('fake', recognizer, batch=2)

    async def run():
        reader.start()
        while not reader.ready:
            await asyncio.sleep(0.001)
        recognizer.go.clear()
        images = [np.full((4, 4, 3), level, np.uint8) for level in range(5)]
        waiting = asyncio.create_task(reader.read(images))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(anyio.to_thread.run_sync(reader.close))
        await asyncio.sleep(0.05)
        recognizer.go.set()
        await closing
        return [reading.text for reading in await waiting]

    assert asyncio.run(run()) == ['0', '1', '2', '3', '4']


def test_where_a_token_is_set_nothing_is_read_without_it():
    for headers, status in ((None, 401), ({'authorization': 'Bearer nonsense'}, 401),
                            ({'authorization': 'Basic pass'}, 401),
                            ({'authorization': 'Bearer pass'}, 200), ({'authorization': 'bearer pass'}, 200)):
        response, = asked((READ, {'content': picture(1), 'headers': headers}), token='pass')
        assert response.status_code == status

    async def work(client):
        return [(await client.get(path)).status_code for path in ('/v1/models', '/metrics', '/health', '/')]
    assert serving(work, Reader('fake', Counting(), batch=1), token='pass') == [401, 401, 200, 200]


def test_formulas_come_with_a_drawing_if_their_latex_is_well_formed():
    texts = {1: r'\frac { 1 } { 2 }', 2: r'\frac { 1', 3: ''}
    found = [one(picture(level), '?draw=1', reader=Reader('fake', Counting(formula=True, texts=texts),
                                                          batch=1)).json()
             for level in texts]
    assert [answer['well_formed'] for answer in found] == [True, False, False]
    kind, _, drawn = found[0]['svg'].partition(',')
    assert kind == 'data:image/svg+xml;base64' and b'<path' in base64.b64decode(drawn)
    assert 'svg' not in found[1]


def test_the_list_of_models_says_what_each_can_do_and_not_where_it_lies():
    async def work(client):
        return (await client.get('/v1/models')).json()
    listed = serving(work, Reader('a', Counting(), batch=1),
                     Reader('b', Counting(beam=4, formula=True), Counting(), batch=1))
    first, second = listed['models']
    assert first == {'name': 'a', 'model': 'counting', 'form': 'workdir', 'formula': False, 'beam': 1,
                     'max_length': 25, 'protocol': '36', 'explain': False, 'ready': True, 'ink': '',
                     'trained_on': ['words:train'], 'reads': 'one word of up to 25 characters: digits'}
    assert (second['beam'], second['formula'], second['explain']) == (4, True, True)


def test_the_page_is_whole_and_takes_nothing_from_elsewhere():
    async def work(client):
        return {path: await client.get(path) for path in FILES}
    found = serving(work, Reader('fake', Counting(), batch=1))
    for path, response in found.items():
        assert response.status_code == 200, path
        assert "default-src 'none'" in response.headers['content-security-policy']
        assert 'http://' not in response.text and 'https://' not in response.text
    assert set(FILES.values()) == {STYLE, *PAGE.iterdir()}
    wanted = {name for response in found.values()
              for name in re.findall(r'''(?:from '\.|(?:src|href)=")(/[\w.]+)''', response.text)}
    assert wanted == set(FILES) - {'/'}


def test_models_are_named_after_their_folders_or_as_one_likes():
    assert serve.names(['runs/demo', 'other/demo/', 'mine=runs/demo', 'a b!']) == {
        'demo': 'runs/demo', 'demo-2': 'other/demo/', 'mine': 'runs/demo', 'a-b-': 'a b!'}
    with pytest.raises(ConfigError, match='called a already'):
        serve.names(['a=x', 'a=y'])


def test_a_port_in_use_and_a_host_that_is_none_are_one_line(capsys):
    with contextlib.closing(socket.create_server(('127.0.0.1', 0))) as taken:
        port = str(taken.getsockname()[1])
        assert command_line.main(['serve', 'x', '--port', port]) == 2
        said = f'--port {port} of 127.0.0.1: address already in use; choose another\n'
        assert said in capsys.readouterr().err
    for line, words in ((('--port', '70000'), 'must be from 0'),
                        (('--host', 'no.such.host.invalid'), '--host'),
                        (('--queue', '0'), 'must be above 0'), (('--beam', '-1'), 'must be above 0'),
                        (('--port', '0'), "'x' does not exist")):
        assert command_line.main(['serve', 'x', *line]) == 2
        said = capsys.readouterr().err
        assert words in said.splitlines()[-1]


def test_the_demo_names_what_it_has(capsys, monkeypatch, tmp_path):
    assert command_line.main(['demo', '--only', 'crn']) == 2
    assert "crn" in (said := capsys.readouterr().err) and 'latex_ocr' in said
    found = demo.demos(tmp_path)
    assert set(found) == {path.stem for path in (ROOT / 'experiments').glob('*.py')}
    assert all(each.minutes for each in found.values())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='checkout of recog'):
        experiments.files(tmp_path)


def test_without_the_recipes_the_demo_has_what_was_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(experiments, 'FOLDER', tmp_path / 'nowhere')
    with pytest.raises(ConfigError, match='checkout of recog'):
        demo.demos(tmp_path)
    (tmp_path / 'demo-crnn').mkdir()
    (tmp_path / 'demo-crnn' / 'results.json').touch()
    (tmp_path / 'demo-rare').mkdir()  # not trained to its end
    wanted = demo.demos(tmp_path)
    assert demo.trained(tmp_path, wanted) == {'crnn': str(tmp_path / 'demo-crnn')}


def test_a_trained_model_answers_as_predict_does(tmp_path, narrow):
    import recog
    from recog import models
    from recog.text import vocabulary
    from recog.workdir import description
    from recog.workdir.checkpoints import Checkpoints

    config = narrow('data.threads=0')
    vocab = vocabulary.from_config(config.text)
    model = models.build(config, vocab)
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    variables = jax.tree.map(lambda leaf: random.uniform(0.1, 0.5, leaf.shape).astype(leaf.dtype), shapes)
    description.write(tmp_path, config, vocab)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {'variables': variables}, description.record(config, vocab, 0, {}, {}), {})
    checkpoints.close()
    recognizer = recog.load(tmp_path, batch=2, devices='0')
    explaining = recog.load(tmp_path, batch=1, devices='0', explain=True)
    pictures = [cv2.imencode('.png', random.integers(0, 256, (32, 40, 3), np.uint8))[1].tobytes()
                for _ in range(3)]
    posts = [(READ, {'content': one}) for one in pictures] + [
        (READ + '?explain=1&places=1', {'content': pictures[0]})]
    *answers, explained = [answer.json() for answer in asked(*posts,
                                                             reader=Reader('fake', recognizer, explaining,
                                                                           batch=2))]
    expected = recognizer(pictures)
    assert [answer['text'] for answer in answers] == [answer.text for answer in expected]
    sure = [answer.confidence for answer in expected]
    np.testing.assert_allclose([answer['confidence'] for answer in answers], sure, atol=1e-4)
    assert base64.b64decode(explained['explanation'].partition(',')[2]).startswith(b'\x89PNG')
    tokens = explained['places']['tokens']
    assert ''.join(each['text'] for each in tokens) == expected[0].text and all(
        0 <= each['box'][0] <= each['centre'][0] <= each['box'][2] <= 40 for each in tokens)
