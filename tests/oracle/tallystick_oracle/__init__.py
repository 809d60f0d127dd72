"""A second verifier of Tallystick sampling sets, written from docs/FORMAT.md alone."""
