"""Appends what somebody says to the file: time, name, picture and message, one line, with tabs between."""

import fcntl
import os
import sys
import time
import urllib.parse

LINES = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".data", "lines")
# The longest request that is read, and the longest fields that are kept.
BODY_MAX, NAME_MAX, PICTURE_MAX, TEXT_MAX = 20_000, 40, 500, 1_000
# The longest file: nobody empties it.
FILE_MAX = 10_000_000


def answer(status, text):
    sys.stdout.write(f"Status: {status}\nContent-Type: text/plain; charset=utf-8\n\n{text}\n")
    sys.exit()


def field(form, name, most):
    """A field on one line: what would be taken for the end of it, or of the line, becomes a space."""
    text = "".join(c if c.isprintable() else " " for c in form.get(name, [""])[0])
    return text.strip()[:most]


def main():
    if os.environ.get("REQUEST_METHOD") != "POST":
        answer("405 Method Not Allowed", "say something with POST")
    length = int(os.environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_MAX:
        answer("413 Content Too Large", "that is too long")
    form = urllib.parse.parse_qs(sys.stdin.buffer.read(length).decode("utf-8", "replace"))
    name, text = field(form, "name", NAME_MAX) or "somebody", field(form, "text", TEXT_MAX)
    picture = field(form, "picture", PICTURE_MAX)
    if not picture.startswith(("http://", "https://")):
        picture = ""
    if not text:
        answer("400 Bad Request", "there is no message")
    os.makedirs(os.path.dirname(LINES), exist_ok=True)
    with open(LINES, "ab") as file:
        # Two who speak at once must not write into each other's line.
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() > FILE_MAX:
            answer("507 Insufficient Storage", "this room is full")
        file.write("\t".join([str(int(time.time())), name, picture, text]).encode() + b"\n")
    if "text/html" in os.environ.get("HTTP_ACCEPT", ""):
        # Back to the form, which remembers the name.
        back = urllib.parse.urlencode({"name": name, "picture": picture})
        sys.stdout.write(f"Status: 303 See Other\nLocation: form.html?{back}\n\n")
    else:
        answer("200 OK", "said")


main()
