"""Runs a program and writes what it took; small itself, since a child starts at its parent's peak.

python measured.py REPORT PROGRAM ARGUMENT...
"""

import json
import os
import sys

report, *program = sys.argv[1:]
child = os.posix_spawn(program[0], program, os.environ)
_, status, used = os.wait4(child, 0)
with open(report, "w", encoding="utf-8") as file:
    json.dump({"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}, file)
sys.exit(os.waitstatus_to_exitcode(status))
