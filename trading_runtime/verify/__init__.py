"""The proof that a strategy looks neither ahead nor further back than it declares, and remembers nothing.

    certificate = verify_strategy(strategy, market, account)

``probes`` runs the proof, ``certificate`` says what came of it; the other files are its parts. What is
proven holds for the bars that were checked: a proof over one market is no proof over another. See
``docs/verify.md``.
"""
