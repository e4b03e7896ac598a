"""An offline check of manifests: what Argo, Kubernetes or the people who pay would refuse, before a cluster sees it.

Every rule is in the file it is named after; ``run.py`` applies them all.
"""
