"""What the pages need: the session, forms, and HTML that can't be broken out of."""

import html
import os
import secrets
import sys
import time
import traceback
import urllib.parse
from http.cookies import CookieError, SimpleCookie

import database as databases

BODY_MAX, NAME_MAX, VISIT_SECONDS = 10_000, 40, 30 * 24 * 3600
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class Done(Exception):
    """The answer is complete."""


def run(page):
    """Answers by a page. What goes wrong is for the log; a visitor is told that something did."""
    answer = Answer()
    try:
        database = databases.connect(os.environ["COURSE_DB"])
        try:
            page(Visit(database, answer), database)
        except Done:
            database.close()
    except Exception:
        traceback.print_exc()
        answer = Answer()
        answer.page('<p>Something went wrong here, and is written down. <a href="">Again</a></p>', "Sorry", "500 Internal Server Error")
    answer.print()


class Answer:
    """What goes to the web server: lines of a head, an empty one, and the body."""

    def __init__(self):
        self.head = ["Content-Type: text/html; charset=utf-8", "Cache-Control: no-store", "X-Content-Type-Options: nosniff"]
        self.head.append(f"Content-Security-Policy: {POLICY}")
        self.body = ""

    def cookie(self, value, seconds):
        self.head.append(f"Set-Cookie: visit={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax")

    def page(self, body, title, status):
        self.head.insert(0, f"Status: {status}")
        self.body = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{e(title)}</title><link rel="stylesheet" href="style.css"></head>
<body><main><h1>{e(title)}</h1>{body}</main></body></html>
"""

    def print(self):
        sys.stdout.buffer.write(("\n".join(self.head) + "\n\n" + self.body).encode())


class Visit:
    """The session: a cookie that nobody can guess, and what the database knows of it. It also carries the question and the answer."""

    def __init__(self, database, answer):
        self.database, self.answer = database, answer
        self.posted = os.environ["REQUEST_METHOD"] == "POST"
        self.form = form() if self.posted else {}
        try:
            cookie = SimpleCookie(os.environ.get("HTTP_COOKIE", "")).get("visit")
        except CookieError:
            # Of somebody else on this host.
            cookie = None
        self.id = cookie.value if cookie and len(cookie.value) == 43 else ""
        rows = database.ask("SELECT name, token FROM visits WHERE id = ? AND at > ?", self.id, int(time.time()) - VISIT_SECONDS)
        if rows:
            self.name, self.token = rows[0]
        else:
            self.begin("")

    def begin(self, name):
        now = int(time.time())
        self.id, self.name, self.token = secrets.token_urlsafe(32), name, secrets.token_urlsafe(24)
        self.database.ask("DELETE FROM visits WHERE at <= ?", now - VISIT_SECONDS)
        self.database.ask("INSERT INTO visits (id, name, token, at) VALUES (?, ?, ?, ?)", self.id, name, self.token, now)
        self.answer.cookie(self.id, VISIT_SECONDS)

    def call(self, name):
        """From now on this visitor has a name, under a new cookie: one that somebody else planted is worth nothing."""
        if self.name:
            self.database.ask("UPDATE visits SET name = ? WHERE id = ?", name, self.id)
        else:
            self.database.ask("DELETE FROM visits WHERE id = ?", self.id)
            self.begin(name)

    def forget(self):
        self.database.ask("DELETE FROM visits WHERE id = ?", self.id)
        self.answer.cookie("", 0)

    def sent(self, field):
        return self.form.get(field, "")

    def check_token(self):
        """A form counts only with the secret of the session that it was shown to: other sites can't know it."""
        if not secrets.compare_digest(self.sent("token").encode(), self.token.encode()):
            self.send('<p>This form is too old. <a href="">Again</a></p>', "Too old", "403 Forbidden")

    def token_field(self):
        return f'<input type="hidden" name="token" value="{e(self.token)}">'

    def send(self, body, title="Courses", status="200 OK", fault=""):
        who = ""
        if self.name:
            who = f"""<form method="post" action="session.py">{self.token_field()}
<p id="who">You are <b>{e(self.name)}</b>. <button name="do" value="out">Log out</button></p></form>"""
        fault = fault and f'<p class="fault" role="alert">{e(fault)}</p>'
        self.answer.page(who + fault + body, title, status)
        raise Done

    def go(self, where):
        """After a form the browser is sent on, so that reloading does not send it again."""
        self.answer.head[:0] = ["Status: 303 See Other", f"Location: {where}"]
        raise Done


def form():
    length = int(os.environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_MAX:
        return {}
    pairs = urllib.parse.parse_qs(sys.stdin.buffer.read(length).decode("utf-8", "replace"))
    return {name: values[0] for name, values in pairs.items()}


def query(name):
    return urllib.parse.parse_qs(os.environ.get("QUERY_STRING", "")).get(name, [""])[0]


def name_of(text):
    """A name without control characters and needless spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def fault_of(name):
    """What is wrong with a name, if anything."""
    return "" if 1 <= len(name) <= NAME_MAX else f"A name has 1 to {NAME_MAX} characters."


def name_field(value):
    return f'<label>Your name <input name="name" maxlength="{NAME_MAX}" required value="{e(value)}"></label>'


def e(value):
    return html.escape(str(value))
