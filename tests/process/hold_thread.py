#!/usr/bin/env python3
"""Holds threads of another process still, as a hang would: `hold_thread.py PID NAME...` stops each thread of that process whose
name is given, and no other one, says `held`, and lets them go when its standard input ends.

By ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT, so that what is tested needs no hook of its own. Where the process ends
meanwhile, so does this.
"""
import ctypes
import os
import select
import sys

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, tid):
    if libc.ptrace(request, tid, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {tid}")


def threads(pid, names):
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as comm:
            if comm.read().strip() in names:
                yield int(tid)


def main():
    pid, names = int(sys.argv[1]), sys.argv[2:]
    held = set(threads(pid, names))
    assert len(held) == len(names), f"{names} of {pid}: {held}"
    for tid in held:
        ptrace(SEIZE, tid)
        ptrace(INTERRUPT, tid)
        os.waitpid(tid, WALL)
    print("held", flush=True)
    # The kernel lets go of them when this process ends. A thread that has died is not gone before its tracer has waited for it.
    while held and not select.select([sys.stdin], [], [], 0.02)[0]:
        for tid in list(held):
            done, status = os.waitpid(tid, WALL | os.WNOHANG)
            if done and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
                held.discard(tid)


main()
