"""The list of courses, and the form to say who one is."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".lib"))
import site_lib  # noqa: E402
from site_lib import e, name_field  # noqa: E402


def page(visit, database):
    rows = database.ask(
        "SELECT c.code, c.title, c.teacher, (SELECT COUNT(*) FROM members m WHERE m.code = c.code) FROM courses c ORDER BY c.code"
    )
    items = "".join(
        f'<tr><td>{e(code)}</td><td><a href="course?code={e(code)}">{e(title)}</a></td><td>{e(teacher)}</td><td>{e(count)}</td></tr>'
        for code, title, teacher, count in rows
    )
    form = "" if visit.name else (
        f'<form method="post" action="session.py">{visit.token_field()}{name_field("")} <button name="do" value="in">Log in</button></form>'
    )
    visit.send(f"<table><tr><th>Code</th><th>Course</th><th>Teacher</th><th>Members</th></tr>{items}</table>{form}")


site_lib.run(page)
