"""Digit images: IDX files, the bank that a split draws from, and the bundled MNIST."""
