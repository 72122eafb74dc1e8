"""The paper, equation by equation: settings, a prepared scan, a drawn plan, and what rendering it changes.

Drawing a plan is separate from rendering it: the first takes a random generator, the second takes none.
"""
