"""The cluster side: manifests from one settings file, an offline check of manifests, submitting and following sweeps.

Only pods and objects around the command line are described here; what runs inside is the ordinary ``trading-runtime``.
hera is imported inside the functions that build or check manifests, kubernetes inside those that talk to a cluster.
"""
