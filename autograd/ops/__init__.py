"""The primitives, by kind. Importing a module registers what it defines."""
