"""``python -m retemper`` is the command ``retemper``."""

from retemper.cli import main

if __name__ == "__main__":
    main()
