"""The command ``trading-runtime``: one file per group of verbs; arguments in, text and exit codes out.

What a verb does is elsewhere. Nothing heavy is imported before a verb runs: ``--help`` and ``--version``
cost the standard library.
"""
