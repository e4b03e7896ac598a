"""The publication a strategy consumes (the live pool): what a good one is, where one comes from when upstream has
none, and what a decision sees of it. Nothing here knows of exchanges, orders or how a store works.
"""
