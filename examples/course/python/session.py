"""Logs in and out. There are no passwords here: a name is only remembered."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".lib"))
import site_lib  # noqa: E402
from site_lib import fault_of, name_field, name_of  # noqa: E402


def page(visit, database):
    if not visit.posted:
        visit.go("./")
    visit.check_token()
    if visit.sent("do") == "out":
        visit.forget()
        visit.go("./")
    name = name_of(visit.sent("name"))
    fault = fault_of(name)
    if fault:
        form = f'<form method="post">{visit.token_field()}{name_field(name)} <button name="do" value="in">Log in</button></form>'
        visit.send(form, "Log in", "422 Unprocessable Content", fault)
    visit.call(name)
    visit.go("./")


site_lib.run(page)
