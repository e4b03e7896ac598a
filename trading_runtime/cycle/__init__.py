"""The live cycle: one decision for one closed bar, then exit. Steps, recovery, placement, account sync, replay."""
