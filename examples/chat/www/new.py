"""Sends the lines that are new: those behind byte `from` of the file. The header X-Next says where to go on."""

import os
import sys
import urllib.parse

LINES = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".data", "lines")
# The most that is sent at once; the rest is there for the next time.
CHUNK = 256 << 10


def main():
    query = urllib.parse.parse_qs(os.environ.get("QUERY_STRING", ""))
    start = query.get("from", ["0"])[0]
    start = int(start) if start.isascii() and start.isdigit() and len(start) < 16 else 0
    new = b""
    if os.path.exists(LINES):
        with open(LINES, "rb") as file:
            # Whoever has more than there is begins anew: the file is another one.
            if start > file.seek(0, os.SEEK_END):
                start = 0
            file.seek(start)
            new = file.read(CHUNK)
    # A line that is being written comes the next time.
    new = new[: new.rfind(b"\n") + 1]
    sys.stdout.write(f"Content-Type: text/plain; charset=utf-8\nCache-Control: no-store\nX-Next: {start + len(new)}\n\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(new)


main()
