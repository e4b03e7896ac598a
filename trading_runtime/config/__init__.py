"""Configuration: one typed schema, read from JSON or YAML, environment and command line, turned into what a run needs.

    schema.py    every setting with its type, limits, default and description
    load.py      file < environment < ``--set``, with the origin of each value; what the hash of a configuration covers
    files.py     JSON (and yaml_files.py: YAML) as plain values; layers.py: what is put on top of them
    checking.py  one line for whatever is wrong: which key, why, and what was probably meant
    build.py     settings -> market and account; strategies.py: -> strategy; funding_files.py: rates from a file

Nothing is imported here: reading settings costs msgspec and nothing else.
"""
