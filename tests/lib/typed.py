"""Runs a program on a terminal of its own and types when it asks.

typed.py ANSWERS COMMAND…: ANSWERS is a JSON list of [text to wait for, what is typed then]; prints
{"output", "code", "echo": [was what is typed shown at each question], "echo_after"} as JSON. A code of
128 + N stands for signal N.
"""

import fcntl
import json
import os
import signal
import sys
import termios

answers = json.loads(sys.argv[1])
fd, own_end = os.openpty()  # this end keeps the settings when the program has ended
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(own_end, termios.TIOCSCTTY, 0)
    for n in range(3):
        os.dup2(own_end, n)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the tests may run where it is ignored
    os.execvp(sys.argv[2], sys.argv[2:])


def shown():
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


out, looked, echo = b"", 0, []
signal.signal(signal.SIGCHLD, lambda *_: None)
ended = None
while ended is None:
    while answers and answers[0][0].encode() in out[looked:]:
        looked = len(out)
        echo.append(shown())
        os.write(fd, answers.pop(0)[1].encode())
    os.set_blocking(fd, False)
    try:
        out += os.read(fd, 4096)
    except BlockingIOError:
        signal.sigtimedwait([signal.SIGCHLD], 0.01)
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        ended = os.waitstatus_to_exitcode(status)
try:
    while True:
        out += os.read(fd, 4096)
except (BlockingIOError, OSError):
    pass
print(json.dumps({"output": out.decode("utf-8", "replace"), "code": ended if ended >= 0 else 128 - ended,
                  "echo": echo, "echo_after": shown()}))
