"""Makes sampling sets by hand, without the verifier's code: its own encoders, tree, keys, frame and statistics."""
