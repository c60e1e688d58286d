"""``python -m edgexfer``, the same as the command ``edgexfer``."""

from edgexfer.cli.main import main

if __name__ == "__main__":
    main()
