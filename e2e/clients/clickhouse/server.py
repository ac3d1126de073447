"""An HTTP interface of ClickHouse in front of chdb, which is its engine: a query as the body of POST /, its parameters as
param_NAME. Prints `ready PORT`."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

engine = session.Session()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        query = self.rfile.read(int(self.headers["Content-Length"])).decode()
        arguments = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        parameters = {name[6:]: value for name, value in arguments if name.startswith("param_")}
        if self.headers.get("X-ClickHouse-User") == "nobody":
            return self.answer(403, b"Code: 516. DB::Exception: nobody: Authentication failed")
        try:
            answer = engine.query(query, params=parameters) if parameters else engine.query(query)
        except Exception as error:  # what the server would say
            return self.answer(404, str(error).encode())
        self.answer(200, answer.bytes() if hasattr(answer, "bytes") else str(answer).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print("ready", server.server_port, flush=True)
server.serve_forever()
