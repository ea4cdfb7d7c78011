"""A webhook for a menu: callers whose number ends in 1 are customers. python3 webhook.py PORT"""
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(self.headers["Authorization"], asked, flush=True)
        known = asked["variables"]["caller"].endswith("1")
        answer = {"next": "sales" if known else "busy", "variables": {"customer": "17" if known else "none"}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Webhook).serve_forever()
