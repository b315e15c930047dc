"""The checks, a module for each group; `mml_conformance.registry` finds them."""
