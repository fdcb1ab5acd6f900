import os

# Children are to find the installed package, not the checkout's folder of the same name, which lacks the commands.
os.environ["PYTHONSAFEPATH"] = "1"
