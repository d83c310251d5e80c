"""How long a test waits for what is sure to come.

Long, for how fast it comes is no fact that a test proves: a machine may have one busy core and
a dozen other tests. What never comes is found all the same, and a minute later.
"""

PATIENCE_S = 60.0
