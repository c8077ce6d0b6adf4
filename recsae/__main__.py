"""``python -m recsae`` is the ``recsae`` command; ``torchrun -m recsae`` starts several of it."""

from recsae.cli.entry import main

if __name__ == "__main__":
    main()
