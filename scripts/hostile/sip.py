"""The SIP that attackers and their victims need: messages as text, digests, a phone with a thread."""

import contextlib
import hashlib
import itertools
import os
import queue
import re
import socket
import threading
import time

PATIENCE = 6
_numbers = itertools.count(int.from_bytes(os.urandom(4)))


def fresh(word="x"):
    """A unique name."""
    return f"{word}{next(_numbers):x}{os.urandom(3).hex()}"


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


class Message:
    """A parsed request or response."""

    def __init__(self, text, source=None):
        self.text, self.source = text, source
        head, _, self.body = text.partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        self.fields = [(name.strip().lower(), value.strip()) for name, _, value in (it.partition(":") for it in lines)]
        words = self.first.split(" ", 2)
        self.status = int(words[1]) if words[0] == "SIP/2.0" and words[1].isdigit() else 0
        self.method = "" if self.status else words[0]
        self.uri = words[1] if len(words) > 1 and not self.status else ""

    def get(self, name):
        return next((value for field, value in self.fields if field == name.lower()), "")

    def all(self, name):
        return [value for field, value in self.fields if field == name.lower()]

    @property
    def call_id(self):
        return self.get("call-id")

    @property
    def cseq(self):
        number, _, method = self.get("cseq").partition(" ")
        return (int(number) if number.isdigit() else 0, method.strip())

    def tag(self, name):
        found = re.search(r";\s*tag=([^;>\s]+)", self.get(name))
        return found[1] if found else ""

    def target(self):
        """The URI of Contact."""
        found = re.search(r"<([^>]+)>", self.get("contact"))
        return found[1] if found else self.get("contact").split(";")[0]

    def media(self):
        """The RTP address in the body."""
        host = re.search(r"^c=IN IP[46] (\S+)", self.body, re.M)
        port = re.search(r"^m=audio (\d+)", self.body, re.M)
        return (host[1], int(port[1])) if host and port else None


def text(first, fields, body=""):
    lines = [first, *(f"{name}: {value}" for name, value in fields), f"Content-Length: {len(body.encode())}"]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def sdp(ip, port, payloads="0 101", more="", direction="sendrecv"):
    known = {"0": "PCMU/8000", "8": "PCMA/8000", "101": "telephone-event/8000"}
    family = f"IP{6 if ':' in ip else 4}"
    maps = "".join(f"a=rtpmap:{it} {known[it]}\r\n" for it in payloads.split())
    return (
        f"v=0\r\no=- {port} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {payloads}\r\n"
        f"{maps}a=ptime:20\r\na={direction}\r\n{more}"
    )


def credentials(challenge, method, uri, user, password, nc=1):
    """The answer to a digest challenge (MD5), as a header field."""
    value = next((it for it in challenge.all("www-authenticate") + challenge.all("proxy-authenticate")
                  if "SHA-256" not in it), "")
    part = {name.lower(): quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', value)}
    secret, cnonce = md5(f"{user}:{part.get('realm', '')}:{password}"), fresh("c")
    asked = md5(f"{method}:{uri}")
    nonce = part.get("nonce", "")
    if "qop" in part:
        response = md5(f"{secret}:{nonce}:{nc:08x}:{cnonce}:auth:{asked}")
        more = f", qop=auth, nc={nc:08x}, cnonce=\"{cnonce}\""
    else:
        response, more = md5(f"{secret}:{nonce}:{asked}"), ""
    name = "Authorization" if challenge.status == 401 else "Proxy-Authorization"
    return name, (
        f'Digest username="{user}", realm="{part.get("realm", "")}", nonce="{nonce}", uri="{uri}", '
        f'response="{response}", algorithm=MD5{more}'
    )


class Call:
    """A dialog of a phone: its requests go to the server, with the dialog's ids."""

    def __init__(self, phone, call_id, ours, theirs, target, answer=None, invite=None):
        self.phone, self.call_id, self.ours, self.theirs, self.target = phone, call_id, ours, theirs, target
        self.cseq, self.answer, self.invite, self.ended = 100, answer, invite, threading.Event()

    @property
    def status(self):
        return self.answer.status if self.answer else 200

    def media(self):
        """The server's RTP address for this party."""
        return (self.answer if self.invite is None else self.invite).media()

    @property
    def our_tag(self):
        return re.search(r"tag=([^;>\s]+)", self.ours)[1]

    @property
    def their_tag(self):
        found = re.search(r"tag=([^;>\s]+)", self.theirs)
        return found[1] if found else ""

    def send(self, method, fields=(), body="", wait=True, **more):
        """A request in the dialog; its final response, or None."""
        self.cseq += method != "ACK"
        return self.phone.request(
            method, self.target, call_id=self.call_id, ours=self.ours, theirs=self.theirs, cseq=self.cseq,
            fields=fields, body=body, wait=wait, **more,
        )

    def ack(self, fields=(), **more):
        number = self.answer.cseq[0] if self.answer else self.cseq
        self.phone.request("ACK", self.target, call_id=self.call_id, ours=self.ours, theirs=self.theirs, cseq=number,
                           fields=fields, wait=False, **more)

    def bye(self, wait=True):
        if not self.ended.is_set():
            self.ended.set()
            return self.send("BYE", wait=wait)

    def digits(self, digits, pause=0.0):
        for digit in digits:
            self.send("INFO", [("Content-Type", "application/dtmf-relay")], f"Signal={digit}\r\nDuration=100\r\n")
            time.sleep(pause)


class Phone:
    """A UDP or TCP socket and the thread that reads it. `on_invite(phone, message)` handles a call; without it calls
    are answered."""

    def __init__(self, server, ip, user="nobody", password="", domain="b2b.example", port=0, tcp=False, sdp_ip=None,
                 media_port=None):
        self.server, self.user, self.password, self.domain = server, user, password, domain
        self.tcp, self.lock, self.over, self.registered = tcp, threading.Lock(), False, False
        if tcp:
            self.socket = socket.socket()
            self.socket.bind((ip, port))
            self.socket.connect(server)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.socket.bind((ip, port))
        self.socket.settimeout(0.2)
        self.ip, self.port = self.socket.getsockname()[:2]
        self.at = f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"
        self.sdp_ip = sdp_ip or ip
        self.media_port = media_port or 40000 + self.port % 10000 * 2 % 20000
        self.waiting, self.calls, self.seen, self.on_invite, self.on_request = {}, {}, [], None, None
        self.coming, self.provisional = queue.Queue(), queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.registered and not self.over:
            self.registered = False
            with contextlib.suppress(OSError):
                self.register(contact="*", expires=0, patience=2)
        self.over = True
        self.thread.join(2)
        self.socket.close()

    @property
    def contact(self):
        return f"<sip:{self.user}@{self.at}{';transport=tcp' if self.tcp else ''}>"

    def via(self, more=";rport"):
        kind = "TCP" if self.tcp else "UDP"
        return f"SIP/2.0/{kind} {self.at};branch=z9hG4bK{fresh()}{more}"

    def put(self, octets, to=None):
        with self.lock, contextlib.suppress(OSError):
            if self.tcp:
                self.socket.sendall(octets.encode() if isinstance(octets, str) else octets)
            else:
                self.socket.sendto(octets.encode() if isinstance(octets, str) else octets, to or self.server)

    def session(self, **more):
        return sdp(self.sdp_ip, self.media_port, **more)

    # ---- what comes

    def _read(self):
        buffer = b""
        while not self.over:
            try:
                octets, source = self.socket.recvfrom(65535)
            except TimeoutError:
                continue
            except OSError:
                if self.tcp or self.over:
                    return
                continue
            if not self.tcp:
                self._take(octets.decode(errors="replace"), source)
                continue
            if not octets:
                return
            buffer += octets
            while True:
                buffer = buffer.lstrip(b"\r\n")
                head, end, rest = buffer.partition(b"\r\n\r\n")
                found = re.search(rb"content-length\s*:\s*(\d+)", head, re.I)
                length = int(found[1]) if found else 0
                if not end or len(rest) < length:
                    break
                self._take((head + end + rest[:length]).decode(errors="replace"), self.server)
                buffer = rest[length:]

    def _take(self, whole, source):
        if not whole.strip():
            return
        with contextlib.suppress(ValueError, IndexError):
            message = Message(whole, source)
            if message.status:
                box = self.waiting.get((message.call_id, message.cseq))
                if box is not None:
                    (box if message.status >= 200 else self.provisional).put(message)
                    if message.status >= 200:
                        return
                if message.status >= 200 and message.cseq[1] == "INVITE":
                    call = self.calls.get(message.call_id)
                    if call and call.answer and call.answer.status < 300:
                        call.ack()
                return
            self._asked(message)

    def _asked(self, message):
        again = any(it.text == message.text for it in self.seen[-20:])
        self.seen.append(message)
        if again and message.method == "INVITE" or message.method == "ACK":
            return
        if self.on_request and self.on_request(self, message):
            return
        if message.method == "INVITE":
            if message.tag("to"):
                self.reply(message, 200, "OK", [("Contact", self.contact)], self.session())
            elif self.on_invite:
                self.on_invite(self, message)
            else:
                self.answer(message)
            return
        if message.method == "BYE" and message.call_id in self.calls:
            self.calls[message.call_id].ended.set()
        if message.method == "CANCEL":
            asked = next((it for it in reversed(self.seen)
                          if it.method == "INVITE" and it.call_id == message.call_id), None)
            self.reply(message, 200, "OK")
            if asked and asked.call_id not in self.calls:
                self.reply(asked, 487, "Request Terminated")
            return
        self.reply(message, 200, "OK")

    def reply(self, request, status, phrase, fields=(), body="", tag=None):
        to = request.get("to")
        if not request.tag("to") and status > 100:
            to += f";tag={tag or md5(request.call_id + self.user)[:10]}"
        base = [("Via", it) for it in request.all("via")]
        base += [("Record-Route", it) for it in request.all("record-route")] if request.method == "INVITE" else []
        base += [("From", request.get("from")), ("To", to), ("Call-ID", request.call_id), ("CSeq", request.get("cseq"))]
        base += list(fields)
        if body:
            base.append(("Content-Type", "application/sdp"))
        self.put(text(f"SIP/2.0 {status} {phrase}", base, body), request.source)
        return to

    def ring(self, invite, status=180, body="", fields=()):
        phrase = "Ringing" if status == 180 else "Session Progress"
        return self.reply(invite, status, phrase, [("Contact", self.contact), *fields], body)

    def answer(self, invite, body=None, fields=(), contact=None):
        """Answers with 200 and returns the call, as `next_call` does."""
        body = self.session() if body is None else body
        ours = self.reply(invite, 200, "OK", [("Contact", contact or self.contact), *fields], body)
        call = Call(self, invite.call_id, ours, invite.get("from"), invite.target(), invite=invite)
        self.calls[invite.call_id] = call
        self.coming.put(call)
        return call

    def next_call(self, patience=PATIENCE):
        """The next call that was answered here, or None."""
        with contextlib.suppress(queue.Empty):
            return self.coming.get(timeout=patience)

    def heard(self, method, since=0):
        """Received requests with this method."""
        return [it for it in self.seen[since:] if it.method == method]

    def until(self, is_so, patience=PATIENCE):
        """Whether this became true in time."""
        end = time.monotonic() + patience
        while not is_so():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    # ---- what goes

    def request(self, method, uri, call_id=None, ours=None, theirs=None, cseq=1, fields=(), body="", wait=True,
                via=None, contact=None, login=True, patience=PATIENCE, to=None):
        """Sends it, authenticates if challenged, and returns the final response, or None."""
        call_id = call_id or fresh("id") + "@attack"
        ours = ours or f"<sip:{self.user}@{self.domain}>;tag={fresh('t')}"
        theirs = theirs or f"<{uri}>"
        proof = []
        for attempt in range(3):
            vias = via(self) if via else [self.via()]
            base = [("Via", it) for it in vias] + [("Max-Forwards", "70"), ("From", ours), ("To", theirs)]
            base += [("Call-ID", call_id), ("CSeq", f"{cseq} {method}")]
            if method in ("INVITE", "REGISTER", "UPDATE", "REFER", "SUBSCRIBE"):
                base.append(("Contact", contact or self.contact))
            base += list(fields) + proof
            if body and not any(name == "Content-Type" for name, _ in fields):
                base.append(("Content-Type", "application/sdp"))
            if not wait:
                self.put(text(f"{method} {uri} SIP/2.0", base, body), to)
                return None
            box = self.waiting[(call_id, (cseq, method))] = queue.Queue()
            found, pause, end = None, 0.5, time.monotonic() + patience
            whole = text(f"{method} {uri} SIP/2.0", base, body)
            self.put(whole, to)
            while found is None and time.monotonic() < end:
                try:
                    found = box.get(timeout=min(pause, max(0.01, end - time.monotonic())))
                except queue.Empty:
                    if not self.tcp and not (method == "INVITE" and attempt > 5):
                        self.put(whole, to)
                    pause *= 2
            del self.waiting[(call_id, (cseq, method))]
            if found is None:
                return None
            if method == "INVITE" and found.status >= 300:
                self.put(text(f"ACK {uri} SIP/2.0", [
                    ("Via", vias[0]), ("Max-Forwards", "70"), ("From", ours), ("To", found.get("to")),
                    ("Call-ID", call_id), ("CSeq", f"{cseq} ACK"),
                ]), to)
            if found.status not in (401, 407) or proof or not login or not self.password:
                return found
            proof = [credentials(found, method, uri, self.user, self.password)]
            cseq += 1
        return found

    def register(self, fields=(), contact=None, via=None, expires=600, **more):
        """The final status, or 0."""
        uri = f"sip:{self.domain}"
        answer = self.request(
            "REGISTER", uri, theirs=f"<sip:{self.user}@{self.domain}>", fields=[("Expires", str(expires)), *fields],
            contact=contact, via=via, **more,
        )
        status = answer.status if answer else 0
        self.registered = self.registered or status == 200
        return status

    def call(self, number, body=None, fields=(), contact=None, patience=PATIENCE, ack=True, **more):
        """Calls it; `status` of the result is the outcome."""
        uri = number if ":" in number else f"sip:{number}@{self.domain}"
        call_id, ours = fresh("call") + "@attack", f"<sip:{self.user}@{self.domain}>;tag={fresh('t')}"
        call = Call(self, call_id, ours, f"<{uri}>", uri)
        call.answer = self.request("INVITE", uri, call_id=call_id, ours=ours, body=body or self.session(), fields=fields,
                                   contact=contact, patience=patience, **more)
        if call.answer and call.answer.status < 300:
            call.theirs, call.target = call.answer.get("to"), call.answer.target()
            self.calls[call_id] = call
            if ack:
                call.ack()
        elif call.answer is None:
            call.answer = Message("SIP/2.0 0 none\r\n\r\n")
        return call
