"""What pytest leaves alone, from whatever folder it is started."""

collect_ignore = [
    "conftest.py",  # a second module of the name that tests/conftest.py has
    "docs/conf.py",  # imports what the extra `docs` installs
    "docs/_build",
    "docs/gallery",
    "examples",  # programs, which would run on import
    "benchmarks",
]
