"""An application server of Python's own: it says what it was told, streams, waits, sends on, and takes web sockets."""
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def page(self, status, body, more=()):
        self.send_response(status)
        for name, value in [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def say(self):
        headers = [[name.lower(), value] for name, value in self.headers.items()]
        said = {"method": self.command, "path": self.path, "headers": headers, "bytes": len(self.body())}
        self.page(200, json.dumps(said).encode(), [("X-Hop", "1"), ("Connection", "X-Hop"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    do_POST = do_PUT = do_DELETE = say

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.endswith("/away"):
            self.page(302, b"", [("Location", "/app/there")])
        elif path.endswith("/hang"):
            time.sleep(60)
        elif path.endswith("/rubbish"):
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            self.close_connection = True
        elif path.endswith("/stream"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"first", b"second"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
                time.sleep(0.5)
            self.wfile.write(b"0\r\n\r\n")
        elif path.endswith("/socket"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.end_headers()
            while some := self.connection.recv(1000):
                self.connection.sendall(some.upper())
            self.close_connection = True
        else:
            self.say()


host, port = sys.argv[1].rsplit(":", 1)
ThreadingHTTPServer((host, int(port)), App).serve_forever()
