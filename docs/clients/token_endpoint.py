import http.server
import subprocess
import sys

COMMAND = ["fanfare", "token", "--auth-key-file", "fanfare.key", "--sub", "ann", "--room", "lobby:rw", "--expires", "10m"]


class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        token = subprocess.run(COMMAND, check=True, capture_output=True).stdout
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Access-Control-Allow-Origin", "http://localhost:12345")
        self.send_header("Access-Control-Allow-Credentials", "true")
        self.end_headers()
        self.wfile.write(token)


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
