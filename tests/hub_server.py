"""As much of the protocol of the Hugging Face Hub as pulling and pushing need, and plain files beside it."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Repositories in memory: for each the files of its commits; `asked` are all requests."""

    def __init__(self):
        self.commits, self.heads, self.files = {}, {}, {}
        self.asked, self.ranges = [], []
        self.cut = 0  # bytes of a large file after which the next answer breaks off
        self.address = ''

    def commit(self, repository, content):
        """Add files to a repository; returns the commit."""
        whole = {**self.commits.get(self.heads.get((repository, 'main'), ''), {}), **content}
        name = hashlib.sha1(repr(sorted(whole.items())).encode()).hexdigest()
        self.commits[name] = whole
        self.heads[repository, 'main'] = name
        return name


def handler(hub):
    """The class that answers requests to a hub."""
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, status, content=b'', **headers):
            content = json.dumps(content).encode() if isinstance(content, dict) else content
            self.send_response(status)
            for name, value in {'Content-Length': str(len(content)), **headers}.items():
                self.send_header(name.replace('_', '-'), value)
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(content)

        def file(self, content, **headers):
            """The content of a file, or of its part from where the request's range begins."""
            wanted = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
            if wanted:
                hub.ranges.append(int(wanted[1]))
                rest = content[int(wanted[1]):]
                headers['Content_Range'] = f'bytes {wanted[1]}-{len(content) - 1}/{len(content)}'
                return self.answer(206, rest, **headers)
            if hub.cut and len(content) > hub.cut:
                most, hub.cut = hub.cut, 0
                self.send_response(200)
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                self.wfile.write(content[:most])
                return self.close()
            return self.answer(200, content, ETag=hashlib.sha256(content).hexdigest(), **headers)

        def close(self):
            self.close_connection = True
            self.connection.close()

        def do_GET(self):
            hub.asked.append(self.path)
            path = self.path.partition('?')[0]
            if path in hub.files:
                return self.file(hub.files[path])
            if path.startswith(('/datasets/', '/api/datasets/')):
                return self.data_set(path.replace('%2F', '/'))
            if found := re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/revision/(.+))?', path):
                repository, revision = found[1], found[2] or 'main'
                if (repository, 'main') not in hub.heads:
                    return self.answer(404, X_Error_Code='RepoNotFound')
                commit = hub.heads.get((repository, revision), revision)
                if commit not in hub.commits:
                    return self.answer(404, X_Error_Code='RevisionNotFound')
                return self.answer(200, {'id': repository, 'sha': commit})
            if found := re.fullmatch(r'/[^/]+/[^/]+/resolve/([^/]+)/(.+)', path):
                content = hub.commits[found[1]].get(found[2])
                if content is not None:
                    return self.file(content, X_Repo_Commit=found[1])
            return self.answer(404, X_Error_Code='EntryNotFound')

        def data_set(self, path):
            """What the library `datasets` asks of a data set: its commit, its files, and one of them."""
            found = re.fullmatch(r'(?:/api)?/(datasets/[^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.+))?)?', path)
            repository, what, revision, file = found.groups()
            commit = hub.heads.get((repository, revision or 'main'), revision)
            if commit not in hub.commits:
                missing = 'RevisionNotFound' if (repository, 'main') in hub.heads else 'RepoNotFound'
                return self.answer(404, X_Error_Code=missing)
            files = hub.commits[commit]
            if what == 'resolve':
                if file not in files:
                    return self.answer(404, X_Error_Code='EntryNotFound', X_Repo_Commit=commit)
                return self.file(files[file], X_Repo_Commit=commit)
            if what == 'tree':
                listed = [{'type': 'file', 'oid': commit, 'size': len(content), 'path': name}
                          for name, content in files.items() if not file or name.startswith(f'{file}/')]
                folders = {name.rpartition('/')[0] for name in files if '/' in name and not file}
                listed += [{'type': 'directory', 'oid': commit, 'size': 0, 'path': each} for each in folders]
                return self.answer(200, json.dumps(listed).encode())
            name = repository.removeprefix('datasets/')
            return self.answer(200, {'id': name, 'sha': commit, 'siblings': []})

        def do_POST(self):
            hub.asked.append(self.path)
            given = self.rfile.read(int(self.headers['Content-Length']))
            if self.path == '/api/repos/create':
                if self.headers.get('Authorization') != 'Bearer right':
                    return self.answer(401)
                wanted = json.loads(given)
                return self.answer(200, {'url': f'{hub.address}/{wanted["organization"]}/{wanted["name"]}'})
            if self.path == '/api/validate-yaml':
                return self.answer(200, {'errors': [], 'warnings': []})
            if '/preupload/' in self.path:
                return self.answer(200, {'files': [
                    {'path': each['path'], 'uploadMode': 'regular', 'shouldIgnore': False}
                    for each in json.loads(given)['files']]})
            found = re.match(r'/api/models/([^/]+/[^/]+)/commit/main', self.path)
            rows = [json.loads(line)['value'] for line in given.decode().splitlines()[1:]]
            commit = hub.commit(found[1], {row['path']: base64.b64decode(row['content']) for row in rows})
            return self.answer(200, {'success': True, 'commitOid': commit,
                                     'commitUrl': f'{hub.address}/{found[1]}/commit/{commit}'})

        do_HEAD = do_GET
    return Handler


@contextlib.contextmanager
def serving():
    """A hub that answers on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler(hub))
    hub.address = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
