"""One course, and the form to join it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".lib"))
import site_lib  # noqa: E402
from site_lib import e, fault_of, name_field, name_of, query  # noqa: E402


def page(visit, database):
    code = query("code")
    code = int(code) if code.isascii() and code.isdigit() and len(code) < 10 else -1
    rows = database.ask("SELECT title, teacher, about FROM courses WHERE code = ?", code)
    if not rows:
        visit.send('<p>There is no such course. <a href="./">All courses</a></p>', "Not found", "404 Not Found")
    title, teacher, about = rows[0]
    name, status, fault = visit.name, "200 OK", ""
    if visit.posted:
        visit.check_token()
        name = name_of(visit.sent("name"))
        fault = fault_of(name)
        if fault:
            status = "422 Unprocessable Content"
        elif database.join(code, name):
            visit.call(name)
            visit.go(f"course?code={code}")
        else:
            status, fault = "409 Conflict", f"{name} is a member already. If that is not you, add something to your name."
    members = database.ask("SELECT name FROM members WHERE code = ? ORDER BY since, name", code)
    people = "".join(f"<li>{e(member)}</li>" for (member,) in members) or "<li>Nobody yet</li>"
    body = f"""<p>{e(about)}</p><p>With {e(teacher)}, code {code}.</p><h2>Members</h2><ul>{people}</ul>
<form method="post" id="join">{visit.token_field()}{name_field(name)} <button>Join</button></form>
<p><a href="./">All courses</a></p>"""
    visit.send(body, title, status, fault)


site_lib.run(page)
