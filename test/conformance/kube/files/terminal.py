"""Runs a command on a terminal as a person does: it types, waits for what has to appear, and changes the window's size.

Each argument before -- is a step: `size COLUMNSxLINES`; `until TEXT|LINE`, which types the line every few seconds until the
text appears, because what is typed before a session is there may be lost; `type LINE`. It prints what appeared, and how the
command ended.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 120
AGAIN = 5


def resize(fd, size):
    columns, lines = map(int, size.split("x"))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def read(fd, seconds):
    ready, _, _ = select.select([fd], [], [], seconds)
    if not ready:
        return b""
    try:
        return os.read(fd, 65536) or None
    except OSError:  # the command ended
        return None


def until(fd, text, line):
    seen, begin, typed = b"", time.monotonic(), -AGAIN
    while text.encode() not in seen:
        now = time.monotonic() - begin
        if now > PATIENCE:
            sys.exit("no %r in %r" % (text, seen))
        if now - typed >= AGAIN:
            os.write(fd, line.encode() + b"\r")
            typed = now
        more = read(fd, 0.2)
        if more is None:
            sys.exit("the end before %r, after %r" % (text, seen))
        seen += more
    print(text)


at = sys.argv.index("--")
command = sys.argv[at + 1:]
child, terminal = pty.fork()
if child == 0:
    resize(0, "80x24")
    os.execvp(command[0], command)
for step in sys.argv[1:at]:
    what, _, rest = step.partition(" ")
    if what == "size":
        resize(terminal, rest)
    elif what == "until":
        until(terminal, *rest.split("|", 1))
    elif what == "type":
        os.write(terminal, rest.encode() + b"\r")
    else:
        sys.exit("no step %r" % step)
begin = time.monotonic()
while read(terminal, 1) is not None:
    if time.monotonic() - begin > PATIENCE:
        sys.exit("it does not end")
print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
