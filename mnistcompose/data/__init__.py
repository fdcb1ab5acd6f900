"""The four files of MNIST, gzip-compressed, and their licence."""
