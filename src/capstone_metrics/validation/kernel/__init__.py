"""The inner loop of the scanner, for numba to compile: reads each line once, and accepts most.

An accepted line is valid by `rules`, with the same values. Nothing here names a broken rule: every
other line is left to `rules`.

A line feed and `PADDING` further bytes follow each block, so a loop that stops at a line feed needs
no check for the end of the block. Arguments are pointers, so that no memory is allocated here.
"""
