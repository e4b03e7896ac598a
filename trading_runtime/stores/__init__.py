"""What outlives a cycle: state, journal, lease and control document, kept in SQLite, Firestore or memory.

Ports and what is built on them lie beside their implementations. Nothing here knows strategies or exchanges.
"""
