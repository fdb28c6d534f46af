"""The list of courses."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".lib"))
from site_lib import Visit, connect, e, send  # noqa: E402

database = connect()
visit = Visit(database)
rows = database.ask(
    "SELECT c.code, c.title, c.teacher, (SELECT COUNT(*) FROM members m WHERE m.code = c.code) FROM courses c ORDER BY c.code"
)
items = "".join(
    f'<tr><td>{e(code)}</td><td><a href="course.py?code={e(code)}">{e(title)}</a></td><td>{e(teacher)}</td><td>{e(count)}</td></tr>'
    for code, title, teacher, count in rows
)
send(visit, f"<table><tr><th>Code</th><th>Course</th><th>Teacher</th><th>Members</th></tr>{items}</table>")
