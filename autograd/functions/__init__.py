"""Compositions of primitives, with torch's names and arguments.

Each module lists what it makes public in ``__all__`` and what becomes a method of Tensor in
``METHODS`` (name of the method -> function).
"""
