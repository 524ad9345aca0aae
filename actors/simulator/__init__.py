"""The engine under fire, from a seed: a story is drawn, acted out on the production actors, and checked throughout.

Read in order: plan.py (what can happen), workload.py, episodes.py and situations.py (what a seed makes of it), stage.py
(acting it out), watch.py, promises.py and peace.py (what must hold), simulation.py (one seed from beginning to end),
exercised.py (what was reached, and what never), shrink.py (the shortest story that fails), story.py (telling it to
people).
"""
