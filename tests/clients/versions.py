"""Prints the versions of the installed clients as they are pinned."""

from importlib.metadata import version

for name in ("chartmogul", "codat-assess", "codat-lending"):
    print(f"{name}=={version(name)}")
