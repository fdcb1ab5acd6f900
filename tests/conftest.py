import os
import signal

# Children are to find the installed package, not the checkout's folder of the same name, which lacks the commands.
os.environ["PYTHONSAFEPATH"] = "1"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background; children would ignore Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
