"""One course, and the form to join it."""

import os
import secrets
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".lib"))
from site_lib import Visit, connect, e, form, name_of, query, send  # noqa: E402

database = connect()
visit = Visit(database)
code = query("code")
rows = database.ask("SELECT title, teacher, about FROM courses WHERE code = ?", int(code)) if code.isascii() and code.isdigit() and len(code) < 10 else []
if not rows:
    send(visit, '<p>There is no such course. <a href="./">All courses</a></p>', "404 Not Found", "Not found")
    sys.exit()
title, teacher, about = rows[0]
if os.environ["REQUEST_METHOD"] == "POST":
    sent = form()
    name = name_of(sent.get("name", ""))
    if not secrets.compare_digest(sent.get("token", "").encode(), visit.token.encode()):
        send(visit, '<p>This form is too old. <a href="">Again</a></p>', "403 Forbidden", "Too old")
        sys.exit()
    if name:
        visit.call(name)
        if not database.ask("SELECT name FROM members WHERE code = ? AND name = ?", int(code), name):
            database.ask("INSERT INTO members (code, name, since) VALUES (?, ?, ?)", int(code), name, int(time.time()))
    send(visit, status="303 See Other", location=f"course.py?code={code}")
    sys.exit()
members = database.ask("SELECT name FROM members WHERE code = ? ORDER BY since, name", int(code))
people = "".join(f"<li>{e(name)}</li>" for (name,) in members) or "<li>Nobody yet</li>"
send(
    visit,
    f"""<p>{e(about)}</p><p>With {e(teacher)}, code {e(code)}.</p><h2>Members</h2><ul>{people}</ul>
<form method="post"><input type="hidden" name="token" value="{e(visit.token)}">
<label>Your name <input name="name" maxlength="40" required value="{e(visit.name)}"></label> <button>Join</button></form>
<p><a href="./">All courses</a></p>""",
    title=title,
)
