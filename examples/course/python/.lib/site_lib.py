"""What the pages need: the database, the session, and HTML that can't be broken out of."""

import html
import os
import secrets
import sys
import time
import urllib.parse
from http.cookies import CookieError, SimpleCookie

BODY_MAX, NAME_MAX, VISIT_SECONDS = 10_000, 40, 30 * 24 * 3600

TABLES = [
    "CREATE TABLE IF NOT EXISTS courses (code INTEGER PRIMARY KEY, title VARCHAR(200) NOT NULL, teacher VARCHAR(100) NOT NULL, about TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS members (code INTEGER NOT NULL, name VARCHAR(40) NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (code, name))",
    "CREATE TABLE IF NOT EXISTS visits (id VARCHAR(64) PRIMARY KEY, name VARCHAR(40) NOT NULL, token VARCHAR(64) NOT NULL, at INTEGER NOT NULL)",
]
COURSES = [
    (4021, "Networks", "Ada Lovelace", "From the wire to the web: who holds the bytes, who knows it, who pays."),
    (4022, "Databases", "Edgar Codd", "Relations, transactions, and what happens when the power goes."),
    (4030, "Distributed systems", "Leslie Lamport", "A computer that you did not know existed can make yours unusable."),
]


class Database:
    """One connection. Values are always bound, never part of the text."""

    def __init__(self, connection, mark):
        self.connection, self.mark = connection, mark

    def ask(self, text, *values):
        cursor = self.connection.cursor()
        cursor.execute(text.replace("?", self.mark), values)
        return cursor.fetchall() if cursor.description else []

    def close(self):
        self.connection.commit()
        self.connection.close()


def connect(url=None, create=False):
    url = url or os.environ["COURSE_DB"]
    scheme, _, rest = url.partition(":")
    parts = urllib.parse.urlsplit(url)
    if scheme == "sqlite":
        import sqlite3

        database = Database(sqlite3.connect(rest, timeout=10), "?")
    elif scheme in ("postgres", "postgresql"):
        import psycopg2

        database = Database(psycopg2.connect(url), "%s")
    elif scheme == "mysql":
        import pymysql

        database = Database(
            pymysql.connect(
                host=parts.hostname,
                port=parts.port or 3306,
                user=urllib.parse.unquote(parts.username or ""),
                password=urllib.parse.unquote(parts.password or ""),
                database=parts.path.strip("/"),
                charset="utf8mb4",
            ),
            "%s",
        )
    else:
        raise ValueError(f"{scheme}: is neither sqlite, postgres nor mysql")
    if create:
        for table in TABLES:
            database.ask(table)
        if not database.ask("SELECT code FROM courses"):
            for course in COURSES:
                database.ask("INSERT INTO courses (code, title, teacher, about) VALUES (?, ?, ?, ?)", *course)
        database.connection.commit()
    return database


def form():
    length = int(os.environ.get("CONTENT_LENGTH") or 0)
    if os.environ["REQUEST_METHOD"] != "POST" or length > BODY_MAX:
        return {}
    pairs = urllib.parse.parse_qs(sys.stdin.buffer.read(length).decode("utf-8", "replace"))
    return {name: values[0] for name, values in pairs.items()}


def query(name):
    return urllib.parse.parse_qs(os.environ.get("QUERY_STRING", "")).get(name, [""])[0]


def name_of(text):
    return "".join(c if c.isprintable() else " " for c in text).strip()[:NAME_MAX]


class Visit:
    """The session: a cookie that nobody can guess, and what the database knows of it."""

    def __init__(self, database):
        self.database, self.fresh = database, False
        try:
            cookie = SimpleCookie(os.environ.get("HTTP_COOKIE", "")).get("visit")
        except CookieError:
            # Of somebody else on this host.
            cookie = None
        self.id = cookie.value if cookie and len(cookie.value) == 43 else ""
        now = int(time.time())
        rows = database.ask("SELECT name, token FROM visits WHERE id = ? AND at > ?", self.id, now - VISIT_SECONDS)
        if rows:
            self.name, self.token = rows[0]
        else:
            self.id, self.name, self.token, self.fresh = secrets.token_urlsafe(32), "", secrets.token_urlsafe(24), True
            database.ask("DELETE FROM visits WHERE at <= ?", now - VISIT_SECONDS)
            database.ask("INSERT INTO visits (id, name, token, at) VALUES (?, ?, ?, ?)", self.id, "", self.token, now)

    def call(self, name):
        self.name = name
        self.database.ask("UPDATE visits SET name = ? WHERE id = ?", name, self.id)


def send(visit, body="", status="200 OK", title="Courses", location=None):
    out = [f"Status: {status}", "Content-Type: text/html; charset=utf-8", "Cache-Control: no-store"]
    if visit.fresh:
        out.append(f"Set-Cookie: visit={visit.id}; Path=/; Max-Age={VISIT_SECONDS}; HttpOnly; SameSite=Lax")
    if location:
        out.append(f"Location: {location}")
    who = f"<p>You are {e(visit.name)}.</p>" if visit.name else ""
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{e(title)}</title><link rel="stylesheet" href="style.css"></head>
<body><main><h1>{e(title)}</h1>{who}{body}</main></body></html>
"""
    visit.database.close()
    sys.stdout.buffer.write(("\n".join(out) + "\n\n" + page).encode())


def e(value):
    return html.escape(str(value))
